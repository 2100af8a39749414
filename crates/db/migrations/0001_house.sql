-- One text for SQLite and PostgreSQL: TEXT, BIGINT (milliseconds since 1970 end in _ms), BOOLEAN, BYTEA.

CREATE TABLE project (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    pattern TEXT,                       -- the pattern it was made from
    state TEXT NOT NULL,                -- active, disabled
    rev BIGINT NOT NULL,                -- newest revision of its settings
    jobs_max BIGINT NOT NULL,
    repository_id TEXT,                 -- the forge's own id, learnt from the first verified payload
    next_look_ms BIGINT,                -- when the poller looks next; NULL: never
    looked_ms BIGINT,
    look_error TEXT,
    created_ms BIGINT NOT NULL
);

CREATE INDEX project_pattern ON project (pattern, name) WHERE pattern IS NOT NULL;

CREATE TABLE project_spec (
    project_id TEXT NOT NULL,
    rev BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    spec TEXT NOT NULL,
    imported_ms BIGINT NOT NULL,
    PRIMARY KEY (project_id, rev)
);

CREATE TABLE deploy_key (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    state TEXT NOT NULL,                -- current, previous
    public_line TEXT NOT NULL,          -- what is entered at the forge
    fingerprint TEXT NOT NULL,
    sealed BYTEA NOT NULL,              -- the private half, sealed by the server's key
    created_ms BIGINT NOT NULL,
    retired_ms BIGINT,                  -- when another one took its place
    accepted_ms BIGINT,                 -- when the remote last let it in
    refused_ms BIGINT,                  -- when the remote last did not
    UNIQUE (project_id, state)
);
CREATE INDEX deploy_key_replaced ON deploy_key (retired_ms) WHERE state = 'previous';

CREATE TABLE delivery (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    remote_id TEXT NOT NULL,            -- the forge's id of the delivery
    event TEXT NOT NULL,                -- the forge's name of the event
    verifier TEXT NOT NULL,
    body_bytes BIGINT NOT NULL,         -- before packing
    received_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    replays BIGINT NOT NULL,
    sum BIGINT NOT NULL,                -- of what came; the body has one of its own
    body BYTEA NOT NULL,                -- packed; last: what comes behind a long value costs its pages to read
    UNIQUE (project_id, remote_id)
);
CREATE INDEX delivery_received ON delivery (project_id, id) WHERE state = 'received';
CREATE INDEX delivery_settled ON delivery (received_ms) WHERE state <> 'received';

CREATE TABLE event (
    delivery_id TEXT NOT NULL,
    n BIGINT NOT NULL,
    kind TEXT NOT NULL,
    ref TEXT,
    before_id TEXT,
    after_id TEXT,
    reason TEXT,
    PRIMARY KEY (delivery_id, n)
);

CREATE TABLE missed_delivery (
    project_id TEXT NOT NULL,
    remote_id TEXT NOT NULL,            -- the forge's id of the delivery, which only its API told of
    found_ms BIGINT NOT NULL,
    PRIMARY KEY (project_id, remote_id)
);
CREATE INDEX missed_delivery_found ON missed_delivery (found_ms);

-- The deliveries that a pattern's purged projects had, and when these were purged: nothing older makes them anew.
CREATE TABLE purged_delivery (
    pattern TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    purged_ms BIGINT NOT NULL,
    PRIMARY KEY (pattern, remote_id)
);
CREATE INDEX purged_delivery_purged ON purged_delivery (purged_ms);

CREATE TABLE purged_project (
    pattern TEXT NOT NULL,
    name TEXT NOT NULL,                 -- in lower case
    purged_ms BIGINT NOT NULL,
    PRIMARY KEY (pattern, name)
);
CREATE INDEX purged_project_purged ON purged_project (purged_ms);

CREATE TABLE build_request (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    pipeline TEXT,                      -- NULL: all
    ref TEXT,                           -- NULL: all that are wanted
    commit_id TEXT,                     -- NULL: the tip
    is_release BOOLEAN NOT NULL,
    cause TEXT NOT NULL,
    cause_id TEXT,
    created_ms BIGINT NOT NULL
);
CREATE INDEX build_request_project ON build_request (project_id);

CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
-- move: the newest of the moves. clock: the newest time seen; ids: the newest time in an id; spared: until when nothing
-- is deleted by its age.
INSERT INTO counter (name, value) VALUES ('move', 0), ('clock', 0), ('ids', 0), ('spared', 0);

CREATE TABLE ref_head (
    project_id TEXT NOT NULL,
    ref TEXT NOT NULL,
    tip TEXT,                           -- the commit; NULL: the ref is gone
    object TEXT,                        -- what the ref names: for an annotated tag, the tag object
    seq BIGINT NOT NULL,                -- rises with every move that was seen, over all refs
    seen_ms BIGINT NOT NULL,
    sum BIGINT NOT NULL,                -- of the row
    PRIMARY KEY (project_id, ref)
);

CREATE TABLE run (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    spec_rev BIGINT NOT NULL,
    ref TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    seq BIGINT,                         -- the move of the ref; NULL: the commit was not the tip, no name moves
    is_release BOOLEAN NOT NULL,
    cause TEXT NOT NULL,
    cause_id TEXT,
    state TEXT NOT NULL,
    reason TEXT,                        -- for those who may see what is here: it may name addresses and folders
    public_reason TEXT,                 -- for everybody: a word of a closed set, with numbers and ids of commits
    jobs_left BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    started_ms BIGINT,
    finished_ms BIGINT,
    told TEXT,                          -- what the forge was told of it: pending, over; never: it is told no more
    tell_tries BIGINT NOT NULL DEFAULT 0,
    tell_after_ms BIGINT NOT NULL DEFAULT 0,
    sum BIGINT NOT NULL                 -- of what never changes in the row
);
CREATE INDEX run_untold ON run (id) WHERE told IS NULL OR (told = 'pending' AND finished_ms IS NOT NULL);
CREATE INDEX run_of_commit ON run (project_id, pipeline, ref, commit_id);
CREATE INDEX run_newest ON run (project_id, commit_id, pipeline, id);
CREATE INDEX run_open ON run (project_id, pipeline, ref) WHERE state IN ('queued', 'running');

CREATE TABLE job (
    id TEXT PRIMARY KEY,
    run_id TEXT,                        -- NULL: work that belongs to no run, such as a look at a remote
    project_id TEXT,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    only_one TEXT,                      -- at most one of these is ready, and at most one is leased
    state TEXT NOT NULL,
    deps_left BIGINT NOT NULL,
    delay_ms BIGINT NOT NULL,           -- between being free to go and being ready
    not_before_ms BIGINT NOT NULL,
    priority BIGINT NOT NULL,           -- lower goes first
    attempt BIGINT NOT NULL,            -- the fencing token: rises with every lease
    tries BIGINT NOT NULL,              -- attempts that ended badly
    losses BIGINT NOT NULL DEFAULT 0,   -- attempts whose worker was lost
    ready_ms BIGINT,                    -- when the jobs before it let it go; NULL: not_before_ms tells
    boot_id TEXT,                       -- whose lease
    lease_until_ms BIGINT,
    outcome TEXT,
    reason TEXT,
    created_ms BIGINT NOT NULL,
    finished_ms BIGINT
);
CREATE INDEX job_ready ON job (priority, not_before_ms, id) WHERE state = 'ready';
CREATE INDEX job_ready_of ON job (project_id, priority, not_before_ms, id) WHERE state = 'ready' AND run_id IS NOT NULL;
CREATE INDEX job_ready_alone ON job (priority, not_before_ms, id) WHERE state = 'ready' AND run_id IS NULL;
CREATE INDEX job_leased ON job (project_id, lease_until_ms) WHERE state = 'leased';
CREATE INDEX job_of_run ON job (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX job_alone ON job (finished_ms) WHERE run_id IS NULL;
CREATE UNIQUE INDEX job_only_one_ready ON job (only_one) WHERE state = 'ready' AND only_one IS NOT NULL;
CREATE UNIQUE INDEX job_only_one_leased ON job (only_one) WHERE state = 'leased' AND only_one IS NOT NULL;

CREATE TABLE job_edge (
    from_id TEXT NOT NULL,
    to_id TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- on_success, on_finish
    PRIMARY KEY (from_id, to_id)
);
CREATE INDEX job_edge_to ON job_edge (to_id);

CREATE TABLE job_attempt (
    job_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    boot_id TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    result TEXT,                        -- succeeded, cached, failed, retry, deferred, lost, released, cancelled
    reason TEXT,
    PRIMARY KEY (job_id, attempt)
);

CREATE TABLE step (
    key BYTEA PRIMARY KEY,
    state TEXT NOT NULL,                -- making, ready, condemned, deleting
    job_id TEXT NOT NULL,               -- who makes it, or made it
    outcome TEXT,
    used_ms BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,           -- of the state
    sum BIGINT                          -- of the key and the outcome
);
CREATE INDEX step_job ON step (job_id) WHERE state = 'making';

CREATE TABLE pin (
    step_key BYTEA NOT NULL,
    run_id TEXT NOT NULL,
    PRIMARY KEY (step_key, run_id)
);
CREATE INDEX pin_run ON pin (run_id);

CREATE TABLE blob (
    digest BYTEA PRIMARY KEY,
    size BIGINT NOT NULL,
    state TEXT NOT NULL,                -- live, deleting
    since_ms BIGINT NOT NULL
);

CREATE TABLE blob_hold (
    id TEXT PRIMARY KEY,                -- who copies blobs: none is marked as going meanwhile
    until_ms BIGINT NOT NULL
);
CREATE INDEX blob_hold_until ON blob_hold (until_ms);

CREATE TABLE step_blob (
    step_key BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    PRIMARY KEY (step_key, digest)
);
CREATE INDEX step_blob_digest ON step_blob (digest);

CREATE TABLE artifact (
    id TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    ref TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    tree_id TEXT NOT NULL,
    recipe TEXT NOT NULL,
    step_key BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    size BIGINT NOT NULL,
    media_type TEXT NOT NULL,
    index_digest BYTEA,                 -- of the member index beside it
    key TEXT NOT NULL,                  -- the public key it was made for
    created_ms BIGINT NOT NULL,
    sum BIGINT NOT NULL                 -- of the row
);
CREATE INDEX artifact_newest ON artifact (project_id, pipeline, recipe, id);
CREATE INDEX artifact_commit ON artifact (key, commit_id);
CREATE INDEX artifact_step ON artifact (step_key);
CREATE INDEX artifact_run ON artifact (run_id);

CREATE TABLE publication (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    seq BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    size BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    metadata TEXT NOT NULL,             -- a JSON object of texts
    state TEXT NOT NULL,
    project_id TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    ref TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    version_id TEXT,
    created_ms BIGINT NOT NULL,
    published_ms BIGINT,
    sum BIGINT NOT NULL,                -- of the row without its state
    UNIQUE (key, seq)
);
CREATE INDEX publication_digest ON publication (digest);
CREATE INDEX publication_run ON publication (run_id);
CREATE INDEX publication_of ON publication (project_id, pipeline, seq);

CREATE TABLE key_holder (
    key TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,           -- by the clock; held again, it is another one
    hold_ms BIGINT NOT NULL             -- for how long others must have seen the row stand
);

CREATE TABLE forge_object (
    project TEXT NOT NULL,              -- its name: what is made at the forge is made before the project is here
    kind TEXT NOT NULL,                 -- hook, key
    api TEXT NOT NULL,                  -- the address of the forge's API
    remote_id TEXT NOT NULL,            -- its id there
    forge TEXT NOT NULL,
    repository TEXT NOT NULL,
    token TEXT,                         -- where the token was read from, env:NAME or file:PATH; never the token
    username TEXT,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (project, kind, api, remote_id)
);

CREATE TABLE schedule (
    project_id TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    cron TEXT NOT NULL,
    next_ms BIGINT NOT NULL,
    PRIMARY KEY (project_id, pipeline)
);

CREATE TABLE token (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);

CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- On a database of several programs: which of them are up.
CREATE TABLE boot (
    id TEXT PRIMARY KEY,
    folder TEXT NOT NULL,               -- the id of the data folder, which one program at a time works on
    kind TEXT NOT NULL,                 -- serve, worker, sync
    place TEXT NOT NULL,                -- where it runs, for people
    version TEXT NOT NULL,              -- of the program
    works BOOLEAN NOT NULL,             -- whether it leases jobs
    config BYTEA,                       -- digest of the projects that its configuration has in force
    draining BOOLEAN NOT NULL,          -- it was asked to stop
    started_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL
);
CREATE INDEX boot_folder ON boot (folder, seen_ms);

-- What one of them does for all.
CREATE TABLE duty (
    name TEXT PRIMARY KEY,
    boot_id TEXT NOT NULL,              -- who does it, or did last
    until_ms BIGINT NOT NULL,           -- nobody else does it before
    begun_ms BIGINT NOT NULL
);

-- Which data folders have the mirror of which project.
CREATE TABLE mirror (
    project_id TEXT NOT NULL,
    folder TEXT NOT NULL,
    used_ms BIGINT NOT NULL,
    PRIMARY KEY (project_id, folder)
);
CREATE INDEX mirror_used ON mirror (used_ms);

-- What jobs wrote, where any program may be asked for it. With SQLite it lies in files.
CREATE TABLE job_log (
    job_id TEXT NOT NULL,
    at BIGINT NOT NULL,                 -- how many bytes are before these
    bytes BYTEA NOT NULL,
    PRIMARY KEY (job_id, at)
);
