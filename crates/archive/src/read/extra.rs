//! Extra fields: the zip64 one is understood, the one that can give a member another name is refused if it
//! does, all others are skipped.

use super::fields::Fields;
use crate::fault::EntryFault;
use crate::record::EXTRA_ZIP64;

/// Info-ZIP's Unicode Path: version, CRC-32 of the header's name, the name that counts instead.
const EXTRA_UNICODE_PATH: u16 = 0x7075;

/// What the extra fields hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extra<'a> {
    pub(super) zip64: Option<&'a [u8]>,
}

pub(super) fn read_extra<'a>(extra: &'a [u8], name: &[u8]) -> Result<Extra<'a>, EntryFault> {
    let mut fields = Fields(extra);
    let mut zip64 = None;
    // Aligning tools leave up to three zeros behind the last field.
    while fields.0.len() > 3 || fields.0.iter().any(|&byte| byte != 0) {
        let (id, data) = read_field(&mut fields).ok_or(EntryFault::Extra)?;
        match id {
            EXTRA_ZIP64 if zip64.replace(data).is_some() => return Err(EntryFault::Extra),
            EXTRA_UNICODE_PATH if data.get(5..) != Some(name) => return Err(EntryFault::Extra),
            _ => {}
        }
    }
    Ok(Extra { zip64 })
}

fn read_field<'a>(fields: &mut Fields<'a>) -> Option<(u16, &'a [u8])> {
    let (id, len) = (fields.u16()?, fields.u16()?);
    Some((id, fields.bytes(len.into())?))
}

/// The header's values, those at their maximum replaced by the zip64 field's. That field holds either exactly
/// the missing values, or all `N` of them agreeing with the header, as some writers do it.
pub(super) fn widen<const N: usize>(zip64: Option<&[u8]>, narrow: [u32; N]) -> Option<[u64; N]> {
    let missing = narrow.iter().filter(|&&value| value == u32::MAX).count();
    let mut fields = Fields(zip64.unwrap_or_default());
    let is_full = fields.0.len() == 8 * N;
    if fields.0.len() != 8 * missing && !is_full {
        return None;
    }
    let mut wide = narrow.map(u64::from);
    for (value, narrow) in wide.iter_mut().zip(narrow) {
        if narrow == u32::MAX {
            *value = fields.u64()?;
        } else if is_full && fields.u64()? != *value {
            return None;
        }
    }
    Some(wide)
}
