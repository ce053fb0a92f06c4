-- Datasets: the raw upload in pieces, and its samples. No foreign keys on the big tables: checking each of ten
-- million rows costs more than the deletes that care for themselves (dataset.c, job.c).
CREATE TABLE dataset (
    id uuid PRIMARY KEY,
    filename text NOT NULL,
    format text NOT NULL,
    media text NOT NULL,
    run_id text,
    generated boolean NOT NULL DEFAULT false,
    generated_by text,
    owner text,
    ground_truth boolean NOT NULL,
    predictions boolean NOT NULL,
    size_bytes bigint NOT NULL,
    sample_count bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at timestamptz
);
CREATE INDEX dataset_by_age ON dataset (created_at DESC, id) WHERE deleted_at IS NULL;

CREATE TABLE dataset_chunk (
    dataset_id uuid NOT NULL,
    seq bigint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (dataset_id, seq)
);
ALTER TABLE dataset_chunk ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE sample (
    dataset_id uuid NOT NULL,
    index bigint NOT NULL,
    example bytea NOT NULL,
    ground_truth bytea,
    prediction bytea,
    PRIMARY KEY (dataset_id, index)
);

CREATE TABLE experiment (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    dataset_id uuid NOT NULL,
    max_samples bigint NOT NULL DEFAULT -1,
    task jsonb NOT NULL,
    owner text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX experiment_by_age ON experiment (created_at DESC, id);

CREATE TABLE workflow (
    id uuid PRIMARY KEY,
    experiment_id uuid NOT NULL REFERENCES experiment ON DELETE CASCADE,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    model text NOT NULL,
    request jsonb NOT NULL,
    status text NOT NULL DEFAULT 'created' CHECK (status IN ('created', 'running', 'failed', 'succeeded')),
    message text,
    owner text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX workflow_by_experiment ON workflow (experiment_id, created_at);

CREATE TABLE job (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('experiment', 'inference', 'annotate', 'evaluator')),
    status text NOT NULL DEFAULT 'created'
        CHECK (status IN ('created', 'pending', 'running', 'succeeded', 'failed', 'stopped')),
    experiment_id uuid,
    workflow_id uuid,
    name text NOT NULL,
    description text,
    dataset_id uuid NOT NULL,
    model text,
    settings jsonb NOT NULL DEFAULT '{}',
    request jsonb,
    owner text,
    metrics text[] NOT NULL DEFAULT '{}',
    metric_keys text[] NOT NULL DEFAULT '{}',
    max_samples bigint NOT NULL,
    sample_count bigint NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    timeout_s integer NOT NULL DEFAULT 0,
    message text,
    hint text,
    provenance jsonb,
    aggregates jsonb,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX job_by_age ON job (created_at DESC, id);
CREATE INDEX job_by_dataset ON job (dataset_id);
CREATE INDEX job_by_experiment ON job (experiment_id) WHERE experiment_id IS NOT NULL;
CREATE INDEX job_by_workflow ON job (workflow_id) WHERE workflow_id IS NOT NULL;
CREATE INDEX job_unfinished ON job (created_at) WHERE status IN ('created', 'pending', 'running');

-- metric_values: in the order of job.metric_keys; NULL or beyond the end: no value.
CREATE TABLE result (
    job_id uuid NOT NULL,
    index bigint NOT NULL,
    prediction bytea,
    metric_values double precision[] NOT NULL DEFAULT '{}',
    detail text,
    error_code text,
    error_message text,
    prompt_tokens integer NOT NULL,
    new_tokens integer NOT NULL,
    seconds double precision NOT NULL,
    truncated boolean NOT NULL,
    finish_reason text,
    worker_id uuid,
    PRIMARY KEY (job_id, index)
);

CREATE TABLE job_log (
    job_id uuid NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    level text NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (job_id, seq)
);

CREATE TABLE secret (
    name text PRIMARY KEY,
    description text NOT NULL DEFAULT '',
    sealed bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE token (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('admin', 'user', 'viewer')),
    hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    used_at timestamptz
);

CREATE TABLE worker_key (
    public_key text PRIMARY KEY,
    name text NOT NULL DEFAULT '',
    admitted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What a job has come to: see store_job_finish in store.h.
CREATE FUNCTION job_figures(which uuid, keys text[]) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH totals AS (
        SELECT count(*) AS samples, count(error_code) AS failed, count(*) FILTER (WHERE truncated) AS truncated,
               coalesce(sum(prompt_tokens), 0) AS prompt_tokens, coalesce(sum(new_tokens), 0) AS new_tokens,
               coalesce(sum(seconds), 0) AS seconds
        FROM result WHERE job_id = which
    ), means AS (
        SELECT keys[v.place] AS key, avg(v.value) AS mean, count(v.value) AS values
        FROM result, LATERAL unnest(metric_values) WITH ORDINALITY AS v(value, place)
        WHERE job_id = which AND error_code IS NULL AND v.place <= cardinality(keys)
        GROUP BY v.place HAVING count(v.value) > 0
    ), errors AS (
        SELECT error_code, error_message, count(*) AS times
        FROM result WHERE job_id = which AND error_code IS NOT NULL
        GROUP BY error_code, error_message ORDER BY times DESC, error_message LIMIT 10
    )
    SELECT jsonb_build_object(
        'samples', samples, 'failed', failed, 'truncated', truncated, 'prompt_tokens', prompt_tokens,
        'new_tokens', new_tokens, 'seconds', seconds,
        'means', coalesce((SELECT jsonb_object_agg(key, mean) FROM means), '{}'),
        'counts', coalesce((SELECT jsonb_object_agg(key, values) FROM means), '{}'),
        'errors', coalesce((SELECT jsonb_agg(jsonb_build_object('code', error_code, 'message', error_message,
            'count', times) ORDER BY times DESC, error_message) FROM errors), '[]'))
    FROM totals
$$;
