"""`python -m orature` is `orature`."""

from orature.cli.main import main

if __name__ == "__main__":
    main()
