"""The entry point of `python -m dtm`."""

from dtm.cli.main import main

if __name__ == "__main__":
    main()
