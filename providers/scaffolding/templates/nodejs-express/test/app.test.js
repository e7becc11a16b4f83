import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createApp } from "../src/app.js";

let server;
let base;

before(async () => {
  await new Promise((ready) => {
    server = createApp().listen(0, "127.0.0.1", ready);
  });
  base = `http://127.0.0.1:${server.address().port}`;
});

after(() => server.close());

function post(path, body) {
  return fetch(base + path, { method: "POST", headers: { "content-type": "application/json" }, body });
}

test("it greets", async () => {
  assert.equal(await (await fetch(base)).text(), "Hello, World!");
});

test("it is up", async () => {
  assert.equal((await fetch(`${base}/healthz`)).status, 200);
});

test("a task is added and done", async () => {
  const added = await post("/tasks", JSON.stringify({ title: " milk " }));
  assert.equal(added.status, 201);
  assert.deepEqual(await added.json(), { id: 1, title: "milk", done: false });
  assert.deepEqual(await (await post("/tasks/1/done")).json(), { id: 1, title: "milk", done: true });
  assert.deepEqual(await (await fetch(`${base}/tasks`)).json(), [{ id: 1, title: "milk", done: true }]);
});

test("a task that is not there is 404", async () => {
  assert.equal((await post("/tasks/9/done")).status, 404);
});

test("a task needs a title", async () => {
  for (const body of ["{}", '{"title": " "}', '{"title": 1}', "nonsense"]) {
    assert.equal((await post("/tasks", body)).status, 400);
  }
});
