"""Small networks as the command line meets them: exported programs, modules by name, pictures, arrays and tables in a folder."""

import numpy as np
import torch
from PIL import Image


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 5),
    ).eval()


class Both(torch.nn.Module):
    """A picture and a table."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.see, self.read, self.judge = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 6), torch.nn.Linear(10, 3)

    def forward(self, image, age):
        return self.judge(torch.cat([torch.relu(self.see(image)).mean((2, 3)), torch.relu(self.read(age))], dim=1))


class Reader(torch.nn.Module):
    """Numbers of tokens, and which of them are there."""

    def __init__(self):
        super().__init__()
        self.emb, self.judge = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 2)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.to(torch.float32)[..., None]
        return self.judge((torch.tanh(self.emb(input_ids)) * mask).sum(1) / mask.sum(1))


def save(module, example, path):
    rows = torch.export.Dim("rows")
    shapes = tuple({0: rows} for _ in example)
    torch.export.save(torch.export.export(module.eval(), example, dynamic_shapes=shapes), path)


def fill(where):
    """Write them all; return the folder."""
    x = torch.randn(2, 3, 8, 8)
    rows = torch.export.Dim("rows")
    torch.export.save(torch.export.export(net(), (x,), dynamic_shapes=({0: rows},)), where / "net.pt2")
    torch.export.save(torch.export.export(net(), (torch.randn(3, 3, 8, 8),)), where / "three.pt2")
    torch.export.save(torch.export.export(net(), (x[:1],)), where / "one.pt2")
    torch.export.save(torch.export.export(net().train(), (x,)), where / "train.pt2")
    torch.save(net(), where / "net.pt")
    torch.save(net().state_dict(), where / "weights.pth")
    rng = np.random.default_rng(0)
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)).save(where / f"{i}.png")
    Image.fromarray(rng.integers(0, 256, (20, 16), dtype=np.uint8)).save(where / "gray.jpg")
    np.save(where / "rows.npy", rng.normal(size=(4, 3, 8, 8)).astype(np.float32))
    raw = (where / "0.png").read_bytes()
    (where / "cut.png").write_bytes(raw[: len(raw) // 2])
    Image.new("1", (20_000, 10_000)).save(where / "bomb.png")
    np.save(where / "number.npy", np.float32(3))
    (where / "empty.npy").write_bytes(b"")
    np.savez(where / "archive.npz", a=np.zeros(3))
    (where / "archive.npz").rename(where / "archive.npy")
    (where / "age.csv").write_text("age,bmi,dose,long\n1,2,3,4\n-1,0.5,0,2\n")
    (where / "text.csv").write_text("age,bmi,dose,long\n1,2,3,high\n")
    save(Both(), (torch.randn(2, 3, 8, 8), torch.randn(2, 4)), where / "both.pt2")
    save(Reader(), (torch.ones(2, 5).long(), torch.ones(2, 5).long()), where / "reader.pt2")
    np.save(where / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (where / "names.txt").write_text("cat\ndog\nowl\nfox\ncow\n")
    (where / "mine.py").write_text(
        "import torch\ndef net():\n    torch.manual_seed(0)\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2)).eval()\nten = net()\n"
    )
    return where
