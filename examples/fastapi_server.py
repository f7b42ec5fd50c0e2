"""FastAPI behind the contract: an endpoint gets what to call the model with, in whichever format it was sent."""

import mlflow
import torch
from fastapi import FastAPI, Request
from signet_contract import Contract
from signet_contract.middleware import MODEL_INPUT, ContractMiddleware

model = mlflow.pytorch.load_model("ride")
app = FastAPI()
app.add_middleware(ContractMiddleware, contract=Contract.load("ride"))


@app.post("/invocations")
def predict(request: Request) -> dict[str, list[float]]:
    """Prices of rides."""
    return {"predictions": model(torch.from_numpy(request.scope[MODEL_INPUT].inputs)).tolist()}
