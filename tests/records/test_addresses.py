import pytest
from pydantic import ValidationError

from records.addresses import WorkspaceFile, shown, tells_secret


@pytest.mark.parametrize(
    ("address", "secret", "printed"),
    [
        ("http://mlflow:5000", False, "http://mlflow:5000"),
        ("http://ada:s3cret@mlflow:5000/x", True, "http://mlflow:5000/x"),
        ("https://s3cret@mlflow", True, "https://mlflow"),
        ("postgresql://retain@db/mlflow", False, "postgresql://db/mlflow"),
        ("postgresql+psycopg2://retain:s3cret@db:5432/mlflow", True, "postgresql+psycopg2://db:5432/mlflow"),
        ("postgresql://db/mlflow?user=retain&password=s3cret", True, "postgresql://db/mlflow"),
        ("postgresql://db/mlflow?sslmode=require", False, "postgresql://db/mlflow"),
        ("https://store/shop?access_token=s3cret", True, "https://store/shop"),
        ("https://store/shop?sig=s3cret", True, "https://store/shop"),
        ("ssh://ada@store/shop", False, "ssh://store/shop"),
        ("ssh://ada:s3cret@store/shop", True, "ssh://store/shop"),
        ("http://ada:s3cret@[half", True, "[half"),
        ("s3://bucket/shop", False, "s3://bucket/shop"),
        ("/mnt/store", False, "/mnt/store"),
        ("sqlite:////home/ada/mlflow.db", False, "sqlite:////home/ada/mlflow.db"),
    ],
)
def test_what_is_secret_in_an_address_is_seen_and_not_printed(address, secret, printed):
    assert tells_secret(address) == secret
    assert shown(address) == printed


@pytest.mark.parametrize(
    ("name", "address", "instead"),
    [
        ("mlflow", "http://ada:s3cret@mlflow:5000", "MLFLOW_TRACKING_PASSWORD"),
        ("prefect", "https://s3cret@prefect/api", "PREFECT_API_AUTH_STRING"),
        ("artifacts", "s3://ada:s3cret@bucket", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_committed_file_keeps_no_secret_and_says_where_it_belongs(name, address, instead):
    with pytest.raises(ValidationError, match=f"give it to whoever runs a command or worker: .*{instead}"):
        WorkspaceFile(**{name: address})
