//! Ceph's object gateway, with one monitor and one OSD behind it that keeps everything in memory. No manager: nothing
//! that S3 needs asks it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::start::{Launch, await_port, keys};
use crate::keeper::{Keeper, find, free_port};

/// All of them, with the package that has each. The daemons are not in everybody's `PATH`.
const PROGRAMS: [(&str, &str); 7] = [
    ("radosgw", "radosgw"),
    ("radosgw-admin", "radosgw"),
    ("ceph-mon", "ceph-mon"),
    ("monmaptool", "ceph-common"),
    ("ceph-osd", "ceph-osd"),
    ("ceph", "ceph-common"),
    ("ceph-authtool", "ceph-common"),
];

const LOG: &str = "radosgw";

/// What is not said here is as Ceph has it. One copy of everything, in few pieces: it is one machine's memory.
fn config(folder: &Path, cluster: &str, monitor: u16, port: u16) -> String {
    let folder = folder.display();
    format!(
        "[global]
fsid = {cluster}
mon_host = [v2:127.0.0.1:{monitor}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv4 = true
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
run_dir = {folder}
log_file = {folder}/radosgw.log
admin_socket =
pid_file =
crash_dir = {folder}
keyring = {folder}/keyring
mon_data = {folder}/mon
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_class_load_list = *
osd_class_default_list = *
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_data_avail_warn = 0
mon_data_avail_crit = 0
mon_allow_pool_delete = true
mon_max_pg_per_osd = 1000
mon_warn_on_insecure_global_id_reclaim = false
[client]
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_data = {folder}
rgw_enable_apis = s3
"
    )
}

/// The programs, or which package is missing.
pub(super) fn programs() -> Result<Launch, String> {
    for (program, package) in PROGRAMS {
        if locate(program).is_none() {
            return Err(format!("there is no {program}; install {package}, or run: scripts/setup.sh test"));
        }
    }
    Ok(Box::new(launch))
}

fn locate(program: &str) -> Option<PathBuf> {
    find(program, &[Path::new("/usr/bin"), Path::new("/usr/sbin")])
}

fn launch(keeper: &Keeper, port: u16, children: &mut Vec<Child>) -> Result<(), String> {
    let cluster = uuid()?;
    let monitor = free_port();
    let text = config(keeper.folder(), &cluster, monitor, port);
    std::fs::write(keeper.folder().join("ceph.conf"), text).map_err(|error| format!("ceph.conf: {error}"))?;
    for name in ["mon", "osd"] {
        std::fs::create_dir(keeper.folder().join(name)).map_err(|error| format!("{name}: {error}"))?;
    }
    let run = |program: &str, args: &str| keeper.run(&mut command(program, args), LOG);
    run("ceph-authtool", "--create-keyring keyring --gen-key -n mon. --cap mon allow_*")?;
    run("ceph-authtool", "keyring --gen-key -n client.admin --cap mon allow_* --cap osd allow_*")?;
    run("ceph-authtool", "keyring --gen-key -n osd.0 --cap mon allow_profile_osd --cap osd allow_*")?;
    run("monmaptool", &format!("--create --fsid {cluster} --addv a [v2:127.0.0.1:{monitor}] monmap"))?;
    run("ceph-mon", "-c ceph.conf --mkfs -i a --monmap monmap --keyring keyring")?;
    let mut start = |program: &str, args: &str| -> Result<(), String> {
        let child = keeper.spawn(&mut command(program, args), LOG);
        children.push(child.map_err(|error| format!("{program}: {error}"))?);
        Ok(())
    };
    start("ceph-mon", "-f -c ceph.conf -i a")?;
    let osd = uuid()?;
    // The first of a cluster is number 0.
    run("ceph", &format!("-c ceph.conf --connect-timeout 60 osd new {osd}"))?;
    run("ceph", "-c ceph.conf --connect-timeout 60 auth import -i keyring")?;
    run("ceph-osd", &format!("-c ceph.conf -i 0 --mkfs --osd-uuid {osd}"))?;
    start("ceph-osd", "-f -c ceph.conf -i 0")?;
    start("radosgw", "-f -c ceph.conf -n client.admin")?;
    let gateway = children.last_mut().ok_or("no gateway")?;
    await_port(port, gateway)?;
    let keys = keys();
    run(
        "radosgw-admin",
        &format!(
            "-c ceph.conf user create --uid=test --display-name=test --access-key={} --secret-key={}",
            keys.access_key, keys.secret_key
        ),
    )
}

/// A command of words without spaces; `_` is one.
fn command(program: &str, args: &str) -> Command {
    let mut command = Command::new(locate(program).unwrap_or_else(|| program.into()));
    command.args(
        args.split(' ')
            .map(|word| if word.starts_with("allow_") { word.replace('_', " ") } else { word.to_owned() }),
    );
    command
}

/// The kernel's; nothing remembers them.
fn uuid() -> Result<String, String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    text.map(|text| text.trim().to_owned()).map_err(|error| format!("no random number: {error}"))
}
