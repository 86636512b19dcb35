"""``python -m stlearnkit``, the command line."""

from stlearnkit.commands import app

if __name__ == "__main__":
    app()
