"""The app of `mlflow models serve` behind the contract of its model."""

import mlflow.pyfunc.scoring_server as mlflow_server
from signet_contract import Contract
from signet_contract.middleware import ContractMiddleware

app = ContractMiddleware(mlflow_server.init(mlflow_server.load_model_with_mlflow_config("ride")), Contract.load("ride"))
