"""`python -m recfold`, which is also what a launcher such as torchrun starts."""

from recfold.cli import main

if __name__ == "__main__":
    main()
