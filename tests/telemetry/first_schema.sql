CREATE TABLE exchanges (
    id VARCHAR NOT NULL,
    created FLOAT NOT NULL,
    task VARCHAR NOT NULL,
    route VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    status INTEGER NOT NULL,
    stream BOOLEAN NOT NULL,
    sampled BOOLEAN NOT NULL,
    confidence FLOAT,
    student VARCHAR,
    request TEXT,
    answer TEXT,
    teacher_answer TEXT,
    response TEXT,
    agreed BOOLEAN,
    finish_reason VARCHAR,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost BIGINT NOT NULL,
    teacher_cost BIGINT NOT NULL,
    audit_cost BIGINT NOT NULL,
    latency_s FLOAT NOT NULL,
    first_token_s FLOAT,
    PRIMARY KEY (id)
);
CREATE INDEX exchanges_usable ON exchanges (task, created) WHERE teacher_answer IS NOT NULL AND request IS NOT NULL AND finish_reason = 'stop';
CREATE INDEX exchanges_task_created ON exchanges (task, created);
CREATE INDEX exchanges_audits ON exchanges (student) WHERE agreed IS NOT NULL;
CREATE TABLE students (
    version VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    created FLOAT NOT NULL,
    path VARCHAR NOT NULL,
    serving BOOLEAN NOT NULL,
    verdict VARCHAR NOT NULL,
    card TEXT NOT NULL,
    PRIMARY KEY (version)
);
CREATE INDEX students_task ON students (task, created);
CREATE TABLE tasks (
    task VARCHAR NOT NULL,
    epoch FLOAT NOT NULL,
    attempts INTEGER NOT NULL,
    tested_on INTEGER NOT NULL,
    trained_on INTEGER NOT NULL,
    trained_at FLOAT NOT NULL,
    PRIMARY KEY (task)
);
