// What tests/integration/test_typescript.py runs: the client against a service, and its webhooks
// against the npm package `standardwebhooks`.
import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";

import { Webhook } from "standardwebhooks";

import { ServerProblem, verifyWebhook, Zkml } from "./zkml";

async function proofs(base: string): Promise<void> {
  const zkml = new Zkml(base);
  const model = await zkml.uploadModel(new Uint8Array([8, 8, 1, 2, 3]), "net.onnx");
  const request = { model: model.id, inputs: { x: [[1, 2, 3]] }, context: { nonce: "mine" } };
  const seen: string[] = [];
  const asked = await zkml.createProof(request);
  const job = await zkml.wait(asked.id, 60, (now) => seen.push(now.state), 1);
  assert.equal(job.state, "succeeded");
  assert.deepEqual(job.result?.outputs, { y: [[1, 2]] });
  assert.equal(seen.at(-1), "succeeded");
  const told: number[] = [];
  let last: unknown;
  const next = await zkml.createProof(request);
  for await (const event of zkml.events(next.id)) {
    told.push(event.seq);
    if (event.type === "state") last = event.data["state"];
  }
  assert.equal(last, "succeeded");
  assert.deepEqual(told, [...told.keys()].map((n) => n + 1));
  for await (const _ of zkml.events(next.id, told.length)) assert.fail("nothing comes after the end");
  const bundle = await zkml.bundle(job.id);
  assert.equal(new TextDecoder().decode(bundle.slice(0, 2)), "PK");
  assert.equal((await zkml.prove(request)).terminal, true);
  await assert.rejects(
    zkml.proof("nobody"),
    (error) => error instanceof ServerProblem && error.problem.code === "job_not_found",
  );
}

async function webhooks(): Promise<void> {
  const secret = "whsec_" + Buffer.from("a secret of 24 bytes ...").toString("base64");
  const body = JSON.stringify({ type: "proof.succeeded", data: { id: "1" } });
  const theirs = new Webhook(secret);
  const now = new Date();
  const headers = {
    "webhook-id": "msg_1",
    "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
    "webhook-signature": "v1a,bm90IG91cnM= " + theirs.sign("msg_1", now, body),
  };
  assert.deepEqual(theirs.verify(body, headers), JSON.parse(body));
  assert.deepEqual(await verifyWebhook(secret, headers, body), JSON.parse(body));
  const old = { ...headers, "webhook-timestamp": String(Number(headers["webhook-timestamp"]) - 900) };
  const changes: [string, Record<string, string>, string][] = [
    [secret, headers, body.replace("1", "2")],
    [secret, { ...headers, "webhook-id": "msg_2" }, body],
    [secret, old, body],
    [secret, { ...headers, "webhook-signature": "v1,AAAA" }, body],
    [secret, { "webhook-id": "msg_1" }, body],
    ["whsec_" + Buffer.from("another secret of bytes!").toString("base64"), headers, body],
  ];
  for (const [key, changed, text] of changes) {
    await assert.rejects(verifyWebhook(key, changed, text));
  }
}

async function publicKeys(): Promise<void> {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const key = "whpk_" + raw.toString("base64");
  const body = JSON.stringify({ type: "proof.failed", data: { id: "2" } });
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = sign(null, Buffer.from(`msg_1.${timestamp}.${body}`), privateKey);
  const headers = {
    "webhook-id": "msg_1",
    "webhook-timestamp": timestamp,
    "webhook-signature": "v1,AAAA v1a,!! v1a," + signature.toString("base64"),
  };
  assert.deepEqual(await verifyWebhook(key, headers, body), JSON.parse(body));
  await assert.rejects(verifyWebhook(key, headers, body + " "));
  await assert.rejects(verifyWebhook(key, { ...headers, "webhook-id": "msg_2" }, body));
  const asSecret = headers["webhook-signature"].replaceAll("v1a,", "v1,");
  await assert.rejects(verifyWebhook(key, { ...headers, "webhook-signature": asSecret }, body));
}

async function main(): Promise<void> {
  const base = process.argv[2];
  assert(base);
  await proofs(base);
  await webhooks();
  await publicKeys();
  console.log("ok");
}

void main();
