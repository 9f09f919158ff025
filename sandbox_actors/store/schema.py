"""The tables of the store.

`seq` is one sequence over experiments, jobs and metrics: a row gets the next number whenever it is written, so that
"what has changed since N" is a range of an index. Columns carry the names of the Structs in `protocol/rows.py`.
"""

from __future__ import annotations

VERSION_1 = """
CREATE TABLE experiments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER NOT NULL,
    name TEXT NOT NULL,
    project TEXT NOT NULL,
    state TEXT NOT NULL,
    source TEXT NOT NULL,
    cwd TEXT NOT NULL,
    work_dir TEXT NOT NULL,
    submitted REAL NOT NULL,
    started REAL,
    finished REAL,
    error TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT ''
);

CREATE TABLE submissions (
    experiment INTEGER PRIMARY KEY REFERENCES experiments (id),
    submit BLOB NOT NULL
);

CREATE TABLE jobs (
    experiment INTEGER NOT NULL REFERENCES experiments (id),
    iter INTEGER NOT NULL,
    "index" INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    pipeline TEXT NOT NULL,
    list TEXT NOT NULL,
    hook TEXT NOT NULL,
    meta_name TEXT NOT NULL,
    state TEXT NOT NULL,
    started REAL,
    finished REAL,
    seconds REAL,
    worker TEXT NOT NULL,
    warm INTEGER,
    attempt INTEGER NOT NULL,
    error TEXT NOT NULL,
    reason TEXT NOT NULL,
    log TEXT NOT NULL,
    PRIMARY KEY (experiment, iter, "index")
) WITHOUT ROWID;

CREATE INDEX jobs_by_seq ON jobs (experiment, seq);

CREATE TABLE outputs (
    experiment INTEGER NOT NULL,
    iter INTEGER NOT NULL,
    "index" INTEGER NOT NULL,
    outputs BLOB NOT NULL,
    PRIMARY KEY (experiment, iter, "index"),
    FOREIGN KEY (experiment, iter, "index") REFERENCES jobs (experiment, iter, "index")
);

CREATE TABLE cursors (
    run TEXT NOT NULL,
    source TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (run, source)
) WITHOUT ROWID;

CREATE TABLE metrics (
    seq INTEGER PRIMARY KEY,
    experiment INTEGER NOT NULL REFERENCES experiments (id),
    pipeline TEXT NOT NULL,
    job TEXT NOT NULL,
    iter INTEGER NOT NULL,
    name TEXT NOT NULL,
    value,
    step INTEGER,
    time REAL NOT NULL
);

CREATE INDEX metrics_by_experiment ON metrics (experiment, seq);
CREATE INDEX metrics_by_name ON metrics (experiment, name, seq)
"""

VERSION_2 = """
CREATE TABLE envs (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL
);

CREATE TABLE job_envs (
    experiment INTEGER NOT NULL,
    iter INTEGER NOT NULL,
    "index" INTEGER NOT NULL,
    env INTEGER NOT NULL REFERENCES envs (id),
    PRIMARY KEY (experiment, iter, "index", env),
    FOREIGN KEY (experiment, iter, "index") REFERENCES jobs (experiment, iter, "index")
) WITHOUT ROWID
"""
"""`envs` has each distinct env once, however many jobs ran in it."""

VERSION_3 = """
DROP INDEX metrics_by_name;
CREATE INDEX metrics_by_series ON metrics (experiment, pipeline, job, name, seq);
CREATE INDEX results_by_job ON metrics (experiment, pipeline, job, iter, seq) WHERE step IS NULL;
CREATE INDEX jobs_by_state ON jobs (experiment, state);
CREATE INDEX experiments_by_name ON experiments (name);
CREATE INDEX experiments_by_work_dir ON experiments (work_dir, started);
ALTER TABLE submissions ADD COLUMN key TEXT;
CREATE UNIQUE INDEX submissions_by_key ON submissions (key);
ALTER TABLE experiments ADD COLUMN queued INTEGER NOT NULL DEFAULT 0
"""
"""No look-up reads more than it finds: a metric by its job and name, the results of a job, how many jobs are done, an
experiment by its name or the key of its submission, and the one that ran last in a work_dir. `queued` is the sequence
number at which an experiment was submitted or resumed, and 0 if an earlier version did that."""

MIGRATIONS = [VERSION_1, VERSION_2, VERSION_3]
"""The first creates version 1 of the schema, each further one turns a version into the next, so that the store of every
released version can be opened. Released scripts are never changed; new ones are added."""

KEYS = {
    "experiments": "id",
    "submissions": "experiment",
    "jobs": "experiment",
    "outputs": "experiment",
    "cursors": "length(run)",
    "metrics": "seq",
    "envs": "id",
    "job_envs": "experiment",
}
"""The column by which `salvage.py` reads each table; a table comes after those that it refers to."""

ORPHANS = [
    "DELETE FROM experiments WHERE id NOT IN (SELECT experiment FROM submissions)",
    "DELETE FROM submissions WHERE experiment NOT IN (SELECT id FROM experiments)",
    "DELETE FROM jobs WHERE experiment NOT IN (SELECT id FROM experiments)",
    'DELETE FROM outputs WHERE (experiment, iter, "index") NOT IN (SELECT experiment, iter, "index" FROM jobs)',
    "DELETE FROM metrics WHERE experiment NOT IN (SELECT id FROM experiments)",
    "DELETE FROM job_envs WHERE env NOT IN (SELECT id FROM envs)"
    ' OR (experiment, iter, "index") NOT IN (SELECT experiment, iter, "index" FROM jobs)',
]
"""Remove the rows whose experiment or job was lost."""
