"""`python -m hupfast` is the command `hupfast`."""

from hupfast.cli import run

if __name__ == "__main__":
    run()
