-- Models that answer single texts.
CREATE TABLE deployment (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    description text NOT NULL,
    model text NOT NULL,
    num_gpus integer NOT NULL,
    num_cpus integer NOT NULL,
    num_replicas integer NOT NULL,
    status text NOT NULL DEFAULT 'created' CHECK (status IN ('created', 'running', 'failed')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
