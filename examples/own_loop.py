"""Train a plain PyTorch model of your own from a folded table: `python examples/own_loop.py folded`."""

import argparse

import torch
from torch import nn

import recfold


class LogisticRegression(nn.Module):
    """A weight per id, summed over every id list of a sample, plus a linear layer over its dense values."""

    def __init__(self, schema: recfold.Schema) -> None:
        super().__init__()
        tables = schema.resolved_tables()
        ids = [name for name, feature in schema.features.items() if feature.is_id]
        dense = [f for f in schema.features.values() if not f.is_id and f.kind in ("dense", "vector")]
        self.bags = nn.ModuleDict(
            {f"of_{name}": nn.EmbeddingBag(tables[schema.table_of(name)].rows or 1, 1, mode="sum") for name in ids}
        )
        for bag in self.bags.values():
            nn.init.zeros_(bag.weight)
        self.dense = nn.Linear(sum(feature.width or 1 for feature in dense), 1)

    def forward(self, batch: recfold.Batch) -> torch.Tensor:
        parts, dense = [], [torch.zeros(batch.num_samples, 0)]
        for group in batch.groups.values():
            for name in group.lists.keys if group.lists is not None else ():
                values, offsets, weights = group.lists.bags(name)  # each distinct list once
                sums = self.bags[f"of_{name}"](values, offsets[:-1], weights)
                parts.append(group.index.unfold(sums))  # copied out to the samples
            if group.dense is not None:
                dense.append(group.index.unfold(group.dense))
        return (self.dense(torch.cat(dense, dim=1)) + sum(parts)).squeeze(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="a folded table")
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=1)
    options = parser.parse_args()
    with recfold.Reader(options.table, settings=recfold.ReaderSettings(batch_size=options.batch_size)) as reader:
        model = LogisticRegression(reader.schema)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for epoch in range(options.epochs):
            for step, batch in enumerate(reader):
                loss = nn.functional.binary_cross_entropy_with_logits(model(batch), batch.labels[:, 0])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                print(f"epoch {epoch} step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
