"""`python servers.py apps|litserve PORT`: each server behind the contract (the examples), and by itself under `/alone`.

By itself, FastAPI and LitServe have the handler that people write: pandas reads the body, the model gets the values.
"""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from litserve import Request
from litserve_server import Ride

BATCH_TIMEOUT_S = 0.3


def values(body: Any) -> torch.Tensor:
    """Rows and columns of a body, as they come."""
    return torch.tensor(pd.DataFrame(**body["dataframe_split"]).to_numpy("float32"))


class Alone(Ride):
    """LitServe's batching by itself: two requests of as many rows share a call of the model."""

    def decode_request(self, request: Request) -> torch.Tensor:  # it gets the JSON, but LitServe wants to read this
        return values(request)

    def predict(self, rides: torch.Tensor) -> torch.Tensor:
        prices: torch.Tensor = self.model(rides.flatten(0, 1))  # LitServe stacks the requests
        return prices.reshape(rides.shape[:2])

    def encode_response(self, output: torch.Tensor) -> dict[str, list[float]]:
        return {"predictions": output.tolist()}


def apps(port: int) -> None:
    """MLflow's and FastAPI's in one process."""
    import fastapi_server
    import mlflow.pyfunc.scoring_server as mlflow_alone
    import mlflow_server
    import uvicorn
    from fastapi import FastAPI
    from starlette.applications import Starlette
    from starlette.routing import Mount

    fastapi_alone = FastAPI()

    @fastapi_alone.post("/invocations")
    def predict(body: dict[str, Any]) -> dict[str, list[float]]:
        return {"predictions": fastapi_server.model(values(body)).tolist()}

    app = Starlette(
        routes=[
            Mount("/mlflow", mlflow_server.app),
            Mount("/fastapi", fastapi_server.app),
            Mount("/alone/mlflow", mlflow_alone.init(mlflow_alone.load_model_with_mlflow_config("ride"))),
            Mount("/alone/fastapi", fastapi_alone),
        ]
    )
    uvicorn.run(app, port=port, log_level="warning")


def litserve(port: int) -> None:
    """Two endpoints of one LitServe, the first behind the contract."""
    from litserve import LitServer
    from signet_contract import Contract
    from signet_contract.middleware import ContractMiddleware

    served = [
        Ride(api_path="/invocations"),
        Alone(api_path="/alone", max_batch_size=2, batch_timeout=BATCH_TIMEOUT_S),
    ]
    checks = (ContractMiddleware, {"contract": Contract.load("ride")})
    server = LitServer(served, middlewares=[checks], accelerator="cpu")
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    {"apps": apps, "litserve": litserve}[sys.argv[1]](int(sys.argv[2]))
