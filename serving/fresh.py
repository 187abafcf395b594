"""What runs in the fresh process: it imports the libraries, then waits on its standard input for orders.

An order is one line of JSON: `uri` of a logged model, `address` of MLflow, `images` (an .npy file), `packages` that
the model must not take from here, `folder` to unpack it in, `answers` (the JSON file to write). The reply is one line:
the exit code of the child that carried it out. When the input ends, because whoever gives the orders has ended, this
process ends too.

This file is run by its path and imports nothing of retain: else the model would find that in place of what it carries.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

LIBRARIES = (
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "numpy",
    "pandas",
    "PIL.Image",
    "networkx",
    "safetensors.torch",
    "torch._dynamo",
    "torch.export.pt2_archive",
)
"""What loading a model will import; imported once, before the first order."""


def main() -> None:
    """Carry out orders until there are no more."""
    # Whatever a library prints must not be taken for a reply.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for library in LIBRARIES:
        importlib.import_module(library)
    for line in sys.stdin:
        order = json.loads(line)
        if not forks():
            carry_out(order)
            print(0, file=replies, flush=True)
            return
        child = os.fork()
        if child == 0:
            as_child(order)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=replies, flush=True)


def forks() -> bool:
    """True where a process that has only imported may be copied; elsewhere each order takes a new one."""
    return sys.platform == "linux"


def as_child(order: dict[str, Any]) -> NoReturn:
    """Carry out an order and end, with 0 if it went well, else 1 and what went wrong on standard error."""
    code = 1
    try:
        carry_out(order)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        # To take a copy of all these libraries down in order costs three seconds and serves nobody.
        sys.stderr.flush()
        os._exit(code)


def carry_out(order: dict[str, Any]) -> None:
    """Load the model, let it answer, and write labels and confidences."""
    os.environ["MLFLOW_TRACKING_URI"] = os.environ["MLFLOW_REGISTRY_URI"] = order["address"]
    import mlflow.pyfunc
    import numpy

    model = mlflow.pyfunc.load_model(order["uri"], dst_path=order["folder"], suppress_warnings=True)
    answers = model.predict(numpy.load(order["images"], allow_pickle=False))
    # Versions of before models stood alone carry packages of these names.
    for name in set(order["packages"]) & set(sys.modules):
        origin = Path(str(sys.modules[name].__file__))
        if not origin.is_relative_to(order["folder"]):
            raise ImportError(f"package {name} was imported from {origin.parent}, not from the logged model")
    content = {name: answers[name].tolist() for name in ("label", "confidence")}
    Path(order["answers"]).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
