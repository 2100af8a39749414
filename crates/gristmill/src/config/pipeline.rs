//! `[[project.pipeline]]`: one thing that is made of a project.

mod options;

use gristmill_model::key::{KEY_PRESETS, KeyPreset, key_preset};
use gristmill_model::{
    ArchiveFormat, ArchiveSpec, FirstLook, Keep, KeyTemplate, NamePattern, PipelineKind, PipelineSpec,
    RefFilter,
};

use super::error::Place;
use super::reader::{Field, Section, nearest, shown};
use super::server;

const KINDS: [&str; 1] = ["archive"];
/// The preset used where no key is given.
const PRESET: &str = "git2s3";
/// The most patterns of one list.
const PATTERNS_MAX: usize = 200;

/// A pipeline and where it stands.
pub(super) struct ParsedPipeline {
    pub(super) spec: PipelineSpec,
    pub(super) place: Place,
}

/// Reads one pipeline; `None` where it is not whole. All that is wrong is reported.
pub(super) fn read(mut section: Section<'_>) -> Option<ParsedPipeline> {
    let place = section.place();
    let kind = section.need("kind", "\"archive\"").and_then(|field| one_of(&field, &KINDS));
    let name = match section.get("name") {
        None => kind.map(str::to_owned),
        Some(field) => read_name(&field),
    };
    let refs = read_refs(&mut section);
    let releases = flag(&mut section, "releases");
    let supersede = flag(&mut section, "supersede");
    let delay_seconds =
        section.get("delay").map_or(Some(0), |field| server::duration(&field, 0, 7 * 86_400, "30s"));
    let schedule = section.get("schedule").and_then(|field| read_schedule(&field));
    let first_look =
        section.get("first_look").map_or(Some(FirstLook::Build), |field| read_first_look(&field));
    let keep = section.get("keep").map_or(Some(Keep::default()), |field| read_keep(&field));
    let archive = read_archive(&mut section);
    section.finish();
    let spec = PipelineSpec {
        name: name?,
        refs: refs?,
        releases,
        supersede,
        delay_seconds: delay_seconds?,
        schedule,
        first_look: first_look?,
        keep: keep?,
        kind: PipelineKind::Archive(archive?),
    };
    Some(ParsedPipeline { spec, place })
}

fn flag(section: &mut Section<'_>, key: &'static str) -> bool {
    section.get(key).and_then(|field| field.bool()).unwrap_or(false)
}

/// One of a few words, with the nearest one named where it is another.
fn one_of(field: &Field<'_>, known: &[&'static str]) -> Option<&'static str> {
    let expected = format!("one of: {}", known.join(", "));
    let text = field.text(&expected)?;
    let word = known.iter().copied().find(|word| *word == text);
    if word.is_none() {
        let near = nearest(text, known.iter().copied());
        field.wrong(near.map_or(expected.clone(), |near| format!("{expected}; did you mean \"{near}\"?")));
    }
    word
}

fn read_name(field: &Field<'_>) -> Option<String> {
    field.text_as("a name of 1 to 100 letters, digits, `.`, `_` and `-`", |text| {
        let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        (begins_well && text.len() <= 100 && text.chars().all(good)).then(|| text.to_owned())
    })
}

/// Without either setting every branch is wanted; with one of them, only what it names.
fn read_refs(section: &mut Section<'_>) -> Option<RefFilter> {
    let (branches, tags) = (section.get("branches"), section.get("tags"));
    if branches.is_none() && tags.is_none() {
        let all = "**".parse().expect("a pattern");
        return Some(RefFilter { branches: vec![all], tags: Vec::new() });
    }
    let branches =
        branches.map_or(Some(Vec::new()), |field| read_patterns(&field, "[\"main\", \"release/*\"]"));
    let tags = tags.map_or(Some(Vec::new()), |field| read_patterns(&field, "[\"v*\"]"));
    Some(RefFilter { branches: branches?, tags: tags? })
}

fn read_patterns(field: &Field<'_>, example: &str) -> Option<Vec<NamePattern>> {
    let fields = field.list(&format!("a list of patterns, such as {example}"))?;
    if fields.len() > PATTERNS_MAX {
        field.error(format!("{} patterns; at most {PATTERNS_MAX} are taken", fields.len()));
        return None;
    }
    let patterns: Vec<Option<NamePattern>> = fields.iter().map(|field| field.parsed("a pattern")).collect();
    patterns.into_iter().collect()
}

fn read_schedule(field: &Field<'_>) -> Option<String> {
    let expected = "five cron fields in UTC (minute hour day month weekday), such as \"0 3 * * *\"";
    let text = field.text(expected)?;
    let parser = croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Disallowed)
        .year(croner::parser::Year::Disallowed)
        .build();
    // From a fixed day on: whether there is a next time at all does not depend on the present.
    let never =
        |cron: &croner::Cron| cron.find_next_occurrence(&chrono::DateTime::UNIX_EPOCH, false).is_err();
    let fault = match parser.parse(text) {
        Ok(_) if text.len() > 200 => Some("it is longer than 200 bytes".to_owned()),
        Ok(cron) => never(&cron).then(|| "that day never comes".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(fault) = &fault {
        field.wrong(format!("{expected} ({})", fault.trim_end_matches('.')));
    }
    fault.is_none().then(|| text.to_owned())
}

fn read_first_look(field: &Field<'_>) -> Option<FirstLook> {
    Some(match one_of(field, &["build", "record"])? {
        "record" => FirstLook::Record,
        _ => FirstLook::Build,
    })
}

fn read_keep(field: &Field<'_>) -> Option<Keep> {
    let mut section = field.section("keep", "a table, such as { versions = 10, days = 90 }")?;
    let versions = section.get("versions").and_then(|field| field.integer(1..=1_000_000));
    let days = section.get("days").and_then(|field| field.integer(1..=36_500));
    section.finish();
    Some(Keep { versions, days })
}

fn read_format(field: &Field<'_>) -> Option<ArchiveFormat> {
    let word = one_of(field, &ArchiveFormat::ALL.map(ArchiveFormat::name))?;
    ArchiveFormat::ALL.into_iter().find(|format| format.name() == word)
}

fn read_archive(section: &mut Section<'_>) -> Option<ArchiveSpec> {
    let format = section.get("format").map_or(Some(ArchiveFormat::Zip), |field| read_format(&field));
    let allow_shared_key = flag(section, "allow_shared_key");
    let key =
        section.get("key").map_or_else(|| key_preset(PRESET).map(Key::Preset), |field| read_key(&field));
    let tag_key = section.get("tag_key").map(|field| field.parsed(KEY_EXPECTED));
    let release_key = section.get("release_key").map(|field| field.parsed(KEY_EXPECTED));
    let options = options::read(section);
    let format = format?;
    // The presets are of zips; another format ends otherwise.
    let preset = |text: &str| {
        let text = text.strip_suffix("zip").expect("the presets are of zips");
        format!("{text}{}", format.name()).parse::<KeyTemplate>().expect("the presets are templates")
    };
    let (key, preset_tag, preset_release) = match key? {
        Key::Template(key) => {
            let for_tags = key_for_tags(&key);
            (key, for_tags, None)
        }
        Key::Preset(of) => (preset(of.branch), of.tag.map(preset), of.release.map(preset)),
    };
    // A wrong template (`Some(None)`) leaves the pipeline out, a missing one leaves it to the preset.
    let tag_key = tag_key.map_or(Some(preset_tag), |own| own.map(Some))?;
    let release_key = release_key.map_or(Some(preset_release), |own| own.map(Some))?;
    Some(ArchiveSpec { format, key, tag_key, release_key, allow_shared_key, options: options? })
}

/// The key for tags where only one for branches is written: `{branch}` becomes `tags/{tag}`, as in the
/// `git2s3` preset, so that a branch and a tag of one name differ.
fn key_for_tags(key: &KeyTemplate) -> Option<KeyTemplate> {
    let text = key.as_str().replace("{branch}", "tags/{tag}").replace("{branch_}", "tags_{tag_}");
    key.asks_for_branch().then(|| text.parse().expect("one placeholder for another"))
}

enum Key {
    Template(KeyTemplate),
    Preset(&'static KeyPreset),
}

const KEY_EXPECTED: &str = "a key template, such as \"{owner}/{repo}/{branch}/{full_name_}.zip\"";

/// A template, or the name of a preset: one word without placeholders, slashes and dots.
fn read_key(field: &Field<'_>) -> Option<Key> {
    let text = field.text(KEY_EXPECTED)?;
    if let Some(preset) = key_preset(text) {
        return Some(Key::Preset(preset));
    }
    if !text.is_empty() && !text.contains(['{', '}', '/', '.']) {
        let names = || KEY_PRESETS.iter().map(|(name, _)| *name);
        let near =
            nearest(text, names()).map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"));
        let all: Vec<&str> = names().collect();
        field.error(format!(
            "`key` is \"{}\", which is no preset{near} Presets: {}; or write {KEY_EXPECTED}",
            shown(text),
            all.join(", ")
        ));
        return None;
    }
    field.parsed(KEY_EXPECTED).map(Key::Template)
}
