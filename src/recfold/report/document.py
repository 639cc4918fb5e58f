"""From facts to the page: which sections there are, in which order, and what stands where one is missing."""

from recfold.report.facts import RunFacts
from recfold.report.folded import accounted, folded
from recfold.report.headline import headline
from recfold.report.markup import Html, note
from recfold.report.metrics import metrics
from recfold.report.page import Section, page
from recfold.report.reproduce import reproduce, settings
from recfold.report.throughput import throughput
from recfold.report.training import training
from recfold.report.wire import wire


def document(facts: RunFacts) -> str:
    """The whole page as text, the same for the same facts."""
    sections = (
        Section("folded", "What was folded", _folded(facts)),
        Section("accounting", "Where every row went", _accounted(facts)),
        Section("training", "Training", training(facts.history)),
        Section("metrics", "Metrics", _metrics(facts)),
        Section("throughput", "Throughput", _throughput(facts)),
        *((Section("wire", "What crossed the wire", wire(facts.history)),) if facts.history.wire else ()),
        Section("settings", "Settings", settings(facts)),
        Section("reproduce", "Run it again", reproduce(facts)),
    )
    return page(f"recfold run {facts.run}", headline(facts), sections, "Written by recfold report.")


def _folded(facts: RunFacts) -> Html:
    return note("The folded table could not be read.") if facts.fold is None else folded(facts.fold)


def _accounted(facts: RunFacts) -> Html:
    if facts.fold is None:
        return note("There is no accounting without the folded table.")
    return accounted(facts.fold.inspection.accounting)


def _metrics(facts: RunFacts) -> Html:
    if facts.evaluation is None or not facts.evaluation.labels:
        return note("This run is not evaluated yet: recfold evaluate RUN TABLE does it.")
    return metrics(facts.evaluation)


def _throughput(facts: RunFacts) -> Html:
    if facts.throughput is None:
        return note("The throughput of fold on and off is not measured in this run.")
    return throughput(facts.throughput)
