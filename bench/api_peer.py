"""The two routes that bench/api measures, on FastAPI, uvicorn and asyncpg: one process, as one coordinator is one."""
import os
import uuid
from datetime import datetime

import asyncpg
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()


class Health(BaseModel):
    status: str
    deployment_type: str


class Dataset(BaseModel):
    id: uuid.UUID
    filename: str
    format: str
    size: int
    ground_truth: bool
    run_id: uuid.UUID | None
    generated: bool | None
    generated_by: str | None
    created_at: datetime


@app.on_event("startup")
async def connect() -> None:
    app.state.pool = await asyncpg.create_pool(os.environ["PEER_DATABASE"], min_size=4, max_size=4)


@app.get("/api/v1/health/")
async def health() -> Health:
    return Health(status="OK", deployment_type="local")


@app.get("/api/v1/datasets/{dataset_id}/")
async def dataset(dataset_id: uuid.UUID) -> Dataset:
    row = await app.state.pool.fetchrow(
        "SELECT id, filename, format, size_bytes AS size, ground_truth, run_id, generated, generated_by, created_at FROM dataset"
        " WHERE id = $1 AND deleted_at IS NULL", dataset_id)
    if row is None:
        raise HTTPException(404, "there is no such dataset")
    return Dataset(**row)
