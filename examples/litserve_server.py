"""LitServe behind the contract: its workers get what to call the model with, in whichever format it was sent."""

from typing import Annotated, Any

import litserve
import mlflow
import torch
from fastapi import Depends, Request
from signet_contract import Contract, middleware


def model_input(request: Request) -> Any:
    """An array of rides, which LitServe hands to a worker."""
    return request.scope[middleware.MODEL_INPUT].inputs


class Ride(litserve.LitAPI):
    """Prices of rides."""

    def setup(self, _device: str) -> None:
        self.model = mlflow.pytorch.load_model("ride")

    def decode_request(self, request: Annotated[Any, Depends(model_input)]) -> Any:
        return torch.from_numpy(request)

    def predict(self, rides: Any) -> dict[str, list[float]]:
        return {"predictions": self.model(rides).tolist()}


if __name__ == "__main__":
    checks = (middleware.ContractMiddleware, {"contract": Contract.load("ride")})
    server = litserve.LitServer(Ride(api_path="/invocations"), middlewares=[checks], accelerator="cpu")
    server.run(host="127.0.0.1", generate_client_file=False)
