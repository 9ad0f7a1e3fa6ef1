// The numbers of explorer.js equal the vectors, like those of Python.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

// Node treats a .js file without a package.json as a CommonJS module.
const source = readFileSync(process.env.EXPLORER_SCRIPT, "utf8");
const explorer = await import(
  `data:text/javascript;base64,${Buffer.from(source).toString("base64")}`
);
const vectors = JSON.parse(
  readFileSync(new URL("explorer_vectors.json", import.meta.url), "utf8"),
);
const close = (actual, expected, what) =>
  assert.ok(
    Math.abs(actual - expected) <= 1e-9 * Math.max(1e-9, Math.abs(expected)),
    `${what}: ${actual} instead of ${expected}`,
  );

test("noise", () => {
  for (const [seed, mask, row, column, expected] of vectors.noise) {
    const field = explorer.noise(seed, mask + 1, row + 1, column + 1);
    assert.equal(field.at(-1), expected);
  }
});

for (const { state, seeds, keep, ...numbers } of vectors.states)
  test(JSON.stringify(state), () => {
    const result = explorer.explore(state);
    assert.equal(result.seeds.join(""), seeds.join(""));
    assert.equal(result.keep.join(""), keep.join(""));
    for (const name in numbers) close(result[name], numbers[name], name);
  });

test("feature maps", () => {
  for (const { picture, height, width, values } of vectors.pictures) {
    const channels = values.length / (height * width);
    const found = explorer.featureMap(picture, height, width, channels);
    values.forEach((value, at) => assert.ok(Math.abs(found[at] - value) < 1e-9));
  }
});

test("addresses", () => {
  const start = {
    method: "dropblock", block_size: 7, keep_prob: 0.8, seed: 3, marks: true,
  };
  const presets = { slides: { state: { block_size: 3, seed: 50 } } };
  const texts = { method: { dropout: "", dropblock: "" } };
  const read = (hash) => explorer.readLink(hash, presets, start, texts);
  assert.equal(read("#gamma"), undefined);
  assert.deepEqual(read("#explorer="), {});
  assert.deepEqual(read("#explorer=slides"), { block_size: 3, seed: 50 });
  assert.deepEqual(
    read("#explorer=&method=dropout&keep_prob=0.35&marks=false"),
    { method: "dropout", keep_prob: 0.35, marks: false },
  );
  // Misspelled parts are ignored, and values out of range are clipped.
  assert.deepEqual(
    read("#explorer=&method=dropconnect&keep_prob=9&block_size=x&moon=1&seed=2.4"),
    { keep_prob: 1, seed: 2 },
  );
  for (const part of [
    "marks=maybe", "marks=1", "marks=", "keep_prob=80%", "keep_prob=0,7", "keep_prob=",
    "toString=1", "method=toString",
  ])
    assert.deepEqual(read(`#explorer=&${part}`), {}, part);
  // Python's spelling of truth values.
  assert.deepEqual(read("#explorer=&marks=False"), { marks: false });
  const now = { ...start, keep_prob: 0.45, method: "dropout", marks: false };
  assert.deepEqual(read(explorer.writeLink(now, start)), now);
});
