-- Who did what: requests that change something, and those that were refused.
CREATE TABLE audit (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    role text NOT NULL,
    address text NOT NULL,
    method text NOT NULL,
    path text NOT NULL,
    status integer NOT NULL,
    request_id text NOT NULL
);
