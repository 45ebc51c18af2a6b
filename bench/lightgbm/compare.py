"""Trains LightGBM on the tables that bench/lightgbm/run.ts wrote, with the settings written beside them, and prints its errors as JSON."""

import json
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text())
errors = {}
for source in settings["sources"]:
    def read(name):
        return np.fromfile(folder / f"{source}.{name}", dtype="<f8")
    width = settings["columns"]
    train, judged = read("train").reshape(-1, width), read("judged").reshape(-1, width)
    data = lgb.Dataset(train, read("train-target"))
    params = {
        "objective": "l1",
        "num_leaves": settings["leaves"],
        "learning_rate": settings["learningRate"],
        "min_data_in_leaf": settings["minLeafRows"][source],
        "min_sum_hessian_in_leaf": 0,
        "lambda_l2": settings["lambdaL2"],
        "max_bin": settings["maxBins"],
        "feature_fraction": 1,
        "num_threads": 1,
        "verbose": -1,
    }
    model = lgb.train(params, data, settings["trees"])
    predicted = np.expm1(model.predict(judged, num_threads=1))
    errors[source] = float(np.mean(np.abs(predicted - np.expm1(read("judged-target")))))
print(json.dumps({"lightgbm": lgb.__version__, "errors": errors}))
