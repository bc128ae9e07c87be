"""An embedding in a plain PyTorch loop: python examples/your_own_loop.py FOLDER

FOLDER holds sub-folders, one a class, with audio files in them.
"""

import sys
from pathlib import Path

import torch

from tonotopy import AudioEmbedder, scan
from tonotopy.audio import LogMel, decode
from tonotopy.clips import PKBatchSampler
from tonotopy.encoders import ConvNet
from tonotopy.losses import AngularDistanceDistributionLoss, CrossEntropyLoss
from tonotopy.metrics import knn_accuracy

EPOCHS = 5
SECONDS = 1.0

clips = scan(Path(sys.argv[1]))
labels = clips.tree.leaf_index(clips.labels)
embedder = AudioEmbedder(LogMel(), ConvNet(num_bins=64), tree=clips.tree)

frames = round(SECONDS * embedder.sample_rate)
waveforms = torch.zeros(len(clips), frames)
for row, path in enumerate(clips.paths):
    wave = torch.from_numpy(decode(path, embedder.sample_rate))[:frames]
    waveforms[row, : len(wave)] = wave

classify = CrossEntropyLoss(clips.tree.num_leaves, embedder.embedding_dim)
shape = AngularDistanceDistributionLoss()
parameters = [*embedder.parameters(), *classify.parameters()]
optimiser = torch.optim.AdamW(parameters, lr=3e-3)

sampler = PKBatchSampler(labels.tolist(), classes_per_batch=8, clips_per_class=4)
for epoch in range(EPOCHS):
    sampler.set_epoch(epoch)
    for batch in sampler:
        embeddings = embedder(waveforms[batch])
        loss = classify(embeddings, labels[batch]) + shape(embeddings, labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}")

embedder.head = classify.head
embedder.save_pretrained("my-model")
embeddings = AudioEmbedder.from_pretrained("my-model").embed(clips.paths)
print(f"kNN accuracy on its own training clips: {knn_accuracy(embeddings, labels):.1%}")
