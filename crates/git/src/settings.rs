//! What git is told whatever the repository says.

/// Settings for every command, over those of the mirror's own file.
pub(crate) const SETTINGS: &[&str] = &[
    // Nothing runs that a repository could name.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    // We tidy up ourselves, under our lock.
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.writeCommitGraph=false",
    // Errors show the end of what git says; advice would fill it.
    "advice.fetchShowForcedUpdates=false",
    // No helper but ours, which is added behind this line where there is a token.
    "credential.helper=",
    "core.askPass=",
    // A redirect would take the request, and with some helpers the token, to another server.
    "http.followRedirects=false",
    // Below 100 bytes/s for a minute is a dead connection.
    "http.lowSpeedLimit=100",
    "http.lowSpeedTime=60",
    "protocol.version=2",
    // Each fetch adds one pack, however small: fewer files, and an fsync for all of its objects.
    "fetch.unpackLimit=1",
    "transfer.unpackLimit=1",
    // See the crate's documentation.
    "transfer.fsckObjects=false",
    "fetch.fsckObjects=false",
    "transfer.bundleURI=false",
    // A pin that was lost in a power cut would be an empty file that breaks each later fetch.
    "core.fsync=committed",
];
