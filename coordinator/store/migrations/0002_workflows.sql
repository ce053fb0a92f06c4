-- Workflows: an inference job, then an evaluation job over the dataset that the first one wrote. Every step from one to the
-- next is taken in the transaction that ends a job, so that no crash can fall between.
ALTER TABLE job ADD COLUMN output_field text;       -- the column that predictions become in a dataset; NULL: none is made
ALTER TABLE job ADD COLUMN output_dataset_id uuid;  -- that dataset, once the job has succeeded
ALTER TABLE workflow ADD COLUMN metrics text[] NOT NULL DEFAULT '{}';  -- of the evaluation; none: there is no evaluation
ALTER TABLE workflow ADD COLUMN settings jsonb NOT NULL DEFAULT '{}';  -- of the evaluation
ALTER TABLE workflow ADD COLUMN timeout_s integer NOT NULL DEFAULT 0;  -- of each of its jobs

-- A quoted field of a CSV file. Texts are bytes: LATIN1 takes every byte but zero, which CSV cannot hold.
CREATE FUNCTION csv_field(field bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN field IS NULL THEN ''::bytea
        WHEN position('\x00'::bytea IN field) > 0 THEN csv_field((
            SELECT string_agg(substring(field FROM i FOR 1), ''::bytea ORDER BY i)
            FROM generate_series(1, octet_length(field)) i WHERE get_byte(field, i - 1) <> 0))
        ELSE convert_to('"' || replace(convert_from(field, 'LATIN1'), '"', '""') || '"', 'LATIN1')
    END
$$;

-- The rows that a job's dataset has: its samples, with the predictions in the column they are for.
CREATE FUNCTION job_output(which uuid)
RETURNS TABLE (index bigint, example bytea, ground_truth bytea, prediction bytea) LANGUAGE sql STABLE AS $$
    SELECT s.index, s.example,
           CASE WHEN j.output_field = 'ground_truth' THEN r.prediction ELSE s.ground_truth END,
           CASE WHEN j.output_field = 'ground_truth' THEN s.prediction ELSE r.prediction END
    FROM job j JOIN sample s ON s.dataset_id = j.dataset_id AND s.index < j.sample_count
    LEFT JOIN result r ON r.job_id = j.id AND r.index = s.index AND r.error_code IS NULL
    WHERE j.id = which
$$;

-- Writes the dataset of a job that has succeeded: samples, a CSV file in pieces of about 256 KiB, and its row.
CREATE FUNCTION job_store_dataset(it job) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    made uuid := gen_random_uuid();
    source dataset;
    truth boolean;
BEGIN
    SELECT * INTO source FROM dataset WHERE id = it.dataset_id;
    truth := source.ground_truth AND it.output_field <> 'ground_truth';
    INSERT INTO sample (dataset_id, index, example, ground_truth, prediction)
        SELECT made, o.index, o.example, o.ground_truth, o.prediction FROM job_output(it.id) o;
    INSERT INTO dataset_chunk (dataset_id, seq, bytes)
        SELECT made, 0, csv_field('examples') || ',' || CASE WHEN truth THEN csv_field('ground_truth') || ','::bytea ELSE '' END
                        || csv_field(convert_to(it.output_field, 'UTF8')) || '\x0d0a'::bytea;
    INSERT INTO dataset_chunk (dataset_id, seq, bytes)
        SELECT made, dense_rank() OVER (ORDER BY piece), bytes FROM (
            SELECT piece, string_agg(line, ''::bytea ORDER BY index) AS bytes FROM (
                SELECT index, line, (sum(octet_length(line)) OVER (ORDER BY index) - 1) / 262144 AS piece FROM (
                    SELECT s.index, csv_field(s.example) || ','::bytea
                        || CASE WHEN truth THEN csv_field(s.ground_truth) || ','::bytea ELSE ''::bytea END
                        || csv_field(CASE WHEN it.output_field = 'ground_truth' THEN s.ground_truth ELSE s.prediction END)
                        || '\x0d0a'::bytea AS line
                    FROM sample s WHERE s.dataset_id = made) lines) pieces
            GROUP BY piece) chunks;
    INSERT INTO dataset (id, filename, format, media, run_id, generated, generated_by, owner, ground_truth, predictions,
                         size_bytes, sample_count)
        SELECT made, regexp_replace(source.filename, '\.[^.]*$', '') || '-' || it.kind || '.csv', 'job', 'csv', it.id, true,
               it.model, it.owner,
               EXISTS (SELECT FROM sample s WHERE s.dataset_id = made AND octet_length(s.ground_truth) > 0),
               EXISTS (SELECT FROM sample s WHERE s.dataset_id = made AND octet_length(s.prediction) > 0),
               (SELECT sum(octet_length(c.bytes)) FROM dataset_chunk c WHERE c.dataset_id = made), it.sample_count;
    UPDATE job SET output_dataset_id = made WHERE id = it.id;
    RETURN made;
END
$$;

-- What the end of one of its jobs means for a workflow.
CREATE FUNCTION workflow_advance(ended job, written uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    flow workflow;
BEGIN
    SELECT * INTO flow FROM workflow WHERE id = ended.workflow_id FOR UPDATE;
    IF flow.status NOT IN ('created', 'running') THEN
        RETURN;
    END IF;
    IF ended.status <> 'succeeded' THEN
        UPDATE workflow SET status = 'failed', updated_at = clock_timestamp(),
            message = 'its ' || ended.kind || ' job ' || CASE ended.status WHEN 'stopped' THEN 'was stopped' ELSE 'failed' END
                      || coalesce(': ' || ended.message, '')
            WHERE id = flow.id;
    ELSIF ended.kind = 'inference' AND cardinality(flow.metrics) > 0 THEN
        INSERT INTO job (id, kind, experiment_id, workflow_id, name, description, dataset_id, settings, request, owner,
                         metrics, max_samples, sample_count, priority, timeout_s)
            SELECT gen_random_uuid(), 'evaluator', flow.experiment_id, flow.id, flow.name || '-evaluation', flow.description,
                   d.id, flow.settings, flow.request, flow.owner, flow.metrics, -1, d.sample_count, ended.priority,
                   flow.timeout_s
            FROM dataset d WHERE d.id = written;
    ELSE
        UPDATE workflow SET status = 'succeeded', updated_at = clock_timestamp() WHERE id = flow.id;
    END IF;
END
$$;

-- Ends a job, once: figures, status, its dataset, the next step of its workflow. Gives back the job, and the jobs of its
-- workflow that wait to be scheduled.
CREATE FUNCTION job_end(which uuid, ending text, why text, advice text) RETURNS SETOF job LANGUAGE plpgsql AS $$
DECLARE
    it job;
    figures jsonb;
    hopeless boolean;
    written uuid;
BEGIN
    SELECT * INTO it FROM job WHERE id = which FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF it.status IN ('created', 'pending', 'running') THEN
        figures := job_figures(which, it.metric_keys);
        hopeless := ending = 'succeeded' AND (figures->>'samples')::bigint > 0 AND figures->>'samples' = figures->>'failed';
        UPDATE job SET aggregates = figures, status = CASE WHEN hopeless THEN 'failed' ELSE ending END,
            message = CASE WHEN hopeless THEN 'every sample failed: ' || (figures->'errors'->0->>'message') ELSE why END,
            hint = advice, finished_at = clock_timestamp(), updated_at = clock_timestamp()
            WHERE id = which RETURNING * INTO it;
        IF it.status = 'succeeded' AND it.output_field IS NOT NULL THEN
            written := job_store_dataset(it);
        END IF;
        IF it.workflow_id IS NOT NULL THEN
            PERFORM workflow_advance(it, written);
        END IF;
    END IF;
    RETURN QUERY SELECT * FROM job WHERE id = which;
    RETURN QUERY SELECT * FROM job WHERE workflow_id = it.workflow_id AND id <> which AND status = 'created';
END
$$;

-- Deletes jobs, whatever they do, with results and logs, and the samples of deleted datasets that only they still showed.
CREATE FUNCTION jobs_delete(which uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    datasets uuid[];
BEGIN
    WITH gone AS (DELETE FROM job WHERE id = ANY (which) RETURNING dataset_id)
        SELECT array_agg(DISTINCT dataset_id) INTO datasets FROM gone;
    DELETE FROM result WHERE job_id = ANY (which);
    DELETE FROM job_log WHERE job_id = ANY (which);
    DELETE FROM sample s USING dataset d WHERE s.dataset_id = d.id AND d.id = ANY (datasets) AND d.deleted_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM job o WHERE o.dataset_id = d.id);
END
$$;

-- NULL: there is none; false: it is not over, and force was not asked for.
CREATE FUNCTION workflow_delete(which uuid, force boolean) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    flow workflow;
BEGIN
    SELECT * INTO flow FROM workflow WHERE id = which FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF flow.status IN ('created', 'running') AND NOT force THEN
        RETURN false;
    END IF;
    DELETE FROM workflow WHERE id = which;
    PERFORM jobs_delete(ARRAY(SELECT id FROM job WHERE workflow_id = which));
    RETURN true;
END
$$;

CREATE FUNCTION experiment_delete(which uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM experiment WHERE id = which FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM experiment WHERE id = which;
    PERFORM jobs_delete(ARRAY(SELECT id FROM job WHERE experiment_id = which));
    RETURN true;
END
$$;
