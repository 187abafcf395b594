"""What an address needs is known before anything is made."""

import importlib.util

import pytest

from adapters import drivers
from records.errors import WrongInput


@pytest.mark.parametrize("address", ["/mnt/batches", "file:///mnt/batches", "https://store.example/shop"])
def test_a_remote_whose_driver_is_there_will_do(address):
    drivers.require_remote(address)


@pytest.mark.parametrize(
    ("address", "package"),
    [("s3://bucket/shop", "dvc-s3"), ("gs://bucket/shop", "dvc-gs"), ("azure://box/shop", "dvc-azure")],
)
def test_a_remote_whose_driver_is_not_there_names_it(address, package, monkeypatch):
    monkeypatch.setattr(drivers, "find_spec", lambda name: None)
    with pytest.raises(WrongInput, match=rf"needs the package `{package}`, .* \(`uv pip install {package}`\)"):
        drivers.require_remote(address)


def test_a_remote_that_dvc_does_not_know_is_told_with_those_that_it_does():
    with pytest.raises(WrongInput, match=r"no remote at s4://. It knows folders, and .*gs.*s3.*ssh"):
        drivers.require_remote("s4://bucket/shop")


@pytest.mark.parametrize("address", ["http://mlflow:5000", "sqlite:///mlflow.db"])
def test_a_registry_whose_driver_is_there_will_do(address):
    drivers.require_database(address)


@pytest.mark.skipif(importlib.util.find_spec("psycopg2") is not None, reason="it is installed here")
def test_a_database_whose_driver_is_not_there_names_it():
    with pytest.raises(WrongInput, match="MLflow at postgresql:// needs the package `psycopg2-binary`"):
        drivers.require_database("postgresql://db/mlflow")


def test_a_database_that_nobody_knows_is_told():
    with pytest.raises(WrongInput, match="Can't load plugin"):
        drivers.require_database("postgresql+nothing://db/mlflow")
