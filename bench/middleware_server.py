"""`python -m bench.middleware_server mlflow|fastapi|litserve MODEL PORT`: a server that answers `/with` and `/without`.

FastAPI and LitServe have the handler that people write, so that both addresses do the same but for the middleware.
"""

import sys
from typing import Any

import mlflow
import pandas as pd
import torch
import uvicorn
from fastapi import FastAPI
from litserve import LitAPI, LitServer, Request
from mlflow.pyfunc import scoring_server
from signet_contract import Contract
from signet_contract.middleware import ContractMiddleware


def _inputs(body: Any) -> torch.Tensor:
    return torch.tensor(pd.DataFrame(**body["dataframe_split"]).to_numpy("float32"))


class _Scores(LitAPI):  # type: ignore[misc]  # LitServe ships no types
    def setup(self, _device: str) -> None:
        self.module = mlflow.pytorch.load_model(sys.argv[2])

    def decode_request(self, request: Request) -> torch.Tensor:  # it gets the JSON, but LitServe wants to read this
        return _inputs(request)

    def predict(self, inputs: torch.Tensor) -> dict[str, Any]:
        return {"predictions": self.module(inputs).tolist()}


def _fastapi(saved: str) -> FastAPI:
    app, module = FastAPI(), mlflow.pytorch.load_model(saved)

    @app.post("/invocations")
    def predict(body: dict[str, Any]) -> dict[str, Any]:
        return {"predictions": module(_inputs(body)).tolist()}

    return app


def _serve(app: Any, saved: str, port: int) -> None:
    """One app behind two addresses, each of them its `/invocations`."""
    checked = ContractMiddleware(app, Contract.load(saved))

    async def routed(scope: Any, receive: Any, send: Any) -> None:
        which = checked if scope["path"] == "/with" else app
        await which({**scope, "path": "/invocations"}, receive, send)

    uvicorn.run(routed, port=port, log_level="warning", lifespan="off")


def main(name: str, saved: str, port: int) -> None:
    """Serve until the process is ended."""
    if name == "litserve":
        checks = (ContractMiddleware, {"contract": Contract.load(saved), "paths": ["/with"]})
        both = [_Scores(api_path="/with"), _Scores(api_path="/without")]
        server = LitServer(both, middlewares=[checks], accelerator="cpu")
        server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
    else:
        _serve(
            _fastapi(saved) if name == "fastapi" else scoring_server.init(mlflow.pyfunc.load_model(saved)), saved, port
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
