"""One self-contained HTML page that explains a run to someone who was not there."""

from recfold.front_door import make_callable
from recfold.report.write import report

__all__ = ["report"]

make_callable("recfold.report")
