"""DistilBERT of Hugging Face: two inputs of integers, a text in; two classes out. Embeddings stay dense.

Needs Keras 2, and `pip install "transformers<5"`, whose TensorFlow models are of Keras 2:
TF_USE_LEGACY_KERAS=1 python huggingface_distilbert.py
"""

import numpy as np
from tensorflow import keras
from transformers import DistilBertConfig, TFDistilBertForSequenceClassification

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    ramp_by_fraction,
)

PRESET = None  # such as "distilbert-base-uncased": trained weights, downloaded
WORDS, VOCABULARY, EPOCHS = 16, 50, 4

# Your data: what the tokenizer gives, and a class. Here texts that begin with a low word are of class 1.
random = np.random.default_rng(0)
ids = random.integers(1, VOCABULARY, (32, WORDS)).astype("int32")
mask = (np.arange(WORDS) < random.integers(4, WORDS + 1, (32, 1))).astype("int32")
texts = {"input_ids": ids * mask, "attention_mask": mask}
labels = (ids[:, 0] < VOCABULARY // 2).astype("int32")

if PRESET:
    bert = TFDistilBertForSequenceClassification.from_pretrained(PRESET, num_labels=2)
else:
    bert = TFDistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=VOCABULARY, max_position_embeddings=WORDS, n_layers=1, n_heads=2, dim=32, hidden_dim=64
        )
    )

# A functional model around it says which inputs the files have, and that logits alone are their output.
inputs = {name: keras.Input((WORDS,), dtype="int32", name=name) for name in texts}
model = keras.Model(inputs, bert(inputs).logits)
model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
export = ExportQuantizedCallback(
    "exported/distilbert",
    ("float32", "dynamic_int8", "int8"),
    evaluation_data=(texts, labels),
    metrics={"accuracy": keras.metrics.SparseCategoricalAccuracy()},
)
model.fit(
    texts,
    labels,
    batch_size=8,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[
        PruningScheduleCallback(ramp_by_fraction(0.7, begin=0.0, end=0.6)),
        ClusterOnTrainEndCallback(16),
        export,
    ],
)

assert export.report is not None  # it is there when the fit has ended
print("int8 after gzip:", export.report["formats"]["int8"]["gzip_bytes"], "bytes")
