// A client of zkml-prover in one file, without a dependency: for browsers, Node 18 and newer, Deno,
// Bun. Copy it into your project.
//
//   const zkml = new Zkml("https://prover.example", process.env.ZKML_API_KEY);
//   const model = await zkml.uploadModel(onnxBytes, "digits.onnx");
//   const job = await zkml.prove({ model: model.id, inputs: { image } });
//   const bundle = await zkml.bundle(job.id); // `zkml verify` checks it without the service

/** Numbers as nested arrays. */
export type Tensor = number | boolean | string | null | Tensor[];

export interface Model {
  id: string;
  name: string;
  inputs: { name: string; dtype: string; shape: number[] }[];
  outputs: { name: string; dtype: string; shape: number[] }[];
}

export interface Problem {
  code: string;
  detail: string;
  status: number;
  retryable: boolean;
  advice?: string;
}

/** A proof's job. Stop waiting on `terminal`, not on the name of a state. */
export interface Job {
  id: string;
  state: string;
  terminal: boolean;
  stage: string | null;
  progress: number;
  model: string;
  circuit: string;
  result: { outputs: Record<string, Tensor> } | null;
  problem: Problem | null;
}

/** Something that happened to a proof. `seq` counts from 1, without gaps. */
export interface ProofEvent {
  job: string;
  seq: number;
  at: string;
  type: string;
  data: Record<string, unknown>;
}

export interface ProofRequest {
  model?: string;
  circuit?: string;
  inputs: Record<string, Tensor>;
  context?: { nonce?: string; chain_id?: number; consumer?: string; expires_at?: number | string };
  metadata?: Record<string, string>;
}

/** The service answered with a problem document (docs/errors.md lists the codes). */
export class ServerProblem extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(`${problem.code}: ${problem.detail}`);
    this.problem = problem;
  }
}

/** Statuses that say "not now", and how often a request is sent in total. */
const LATER = [429, 502, 503, 504];
const ATTEMPTS = 4;
const LONGEST_WAIT_S = 60;

export class Zkml {
  private readonly base: string;
  private readonly apiKey: string | undefined;

  constructor(base: string, apiKey?: string) {
    this.base = base.replace(/\/+$/, "");
    this.apiKey = apiKey;
  }

  /** Uploads an ONNX file; the same bytes give the same model. */
  async uploadModel(onnx: Uint8Array, name: string): Promise<Model> {
    const path = `/v1/models?name=${encodeURIComponent(name)}`;
    return this.json("POST", path, onnx, { "Content-Type": "application/octet-stream" });
  }

  /**
   * Asks for a proof; answers at once. With a `key` of your own you can send the same request again
   * after a crash and get the same proof.
   */
  async createProof(request: ProofRequest, key: string = crypto.randomUUID()): Promise<Job> {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    return this.json("POST", "/v1/proofs", JSON.stringify(request), headers);
  }

  async proof(id: string, waitS = 0): Promise<Job> {
    const headers: Record<string, string> = waitS > 0 ? { Prefer: `wait=${Math.ceil(waitS)}` } : {};
    return this.json("GET", `/v1/proofs/${encodeURIComponent(id)}`, undefined, headers);
  }

  /** The job once it has ended, whichever way; `onProgress` sees it about every `stepS` seconds. */
  async wait(id: string, timeoutS = 600, onProgress?: (job: Job) => void, stepS = 20): Promise<Job> {
    const until = Date.now() + timeoutS * 1000;
    for (;;) {
      const left = (until - Date.now()) / 1000;
      const job = await this.proof(id, Math.min(stepS, Math.max(left, 0)));
      onProgress?.(job);
      if (job.terminal) return job;
      if (left <= 0) throw new Error(`proof ${id} is ${job.state} after ${timeoutS} s`);
    }
  }

  /** Asks for a proof and waits for it. Throws `ServerProblem` when there is none. */
  async prove(request: ProofRequest, timeoutS = 600): Promise<Job> {
    const job = await this.wait((await this.createProof(request)).id, timeoutS);
    if (job.state !== "succeeded") {
      const none = { code: job.state, detail: "There is no proof.", status: 409, retryable: false };
      throw new ServerProblem(job.problem ?? none);
    }
    return job;
  }

  /**
   * The proof's events as they come, from the one after `after` to the one that ends it. A stream
   * that breaks is taken up again where it was.
   */
  async *events(id: string, after = 0): AsyncGenerator<ProofEvent> {
    const path = `/v1/proofs/${encodeURIComponent(id)}/events`;
    for (let broken = 0; broken < ATTEMPTS; broken++) {
      try {
        const answer = await this.send("GET", path, undefined, { "Last-Event-ID": String(after) });
        if (answer.status === 204 || !answer.body) return;
        for await (const data of serverSent(answer.body)) {
          const event = JSON.parse(data) as ProofEvent;
          after = event.seq;
          broken = 0;
          yield event;
        }
        continue; // it has ended, or the connection has: the next answer tells
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // fetch's word for a connection that broke
      }
      await new Promise((wake) => setTimeout(wake, 200 * 2 ** broken));
    }
    throw new Error(`the events of proof ${id} broke off`);
  }

  async cancel(id: string): Promise<Job> {
    return this.json("POST", `/v1/proofs/${encodeURIComponent(id)}/cancel`);
  }

  /** Everything that verification needs, in one file. */
  async bundle(id: string): Promise<Uint8Array> {
    const answer = await this.send("GET", `/v1/proofs/${encodeURIComponent(id)}/bundle`);
    return new Uint8Array(await answer.arrayBuffer());
  }

  private async json<T>(
    method: string,
    path: string,
    body?: string | Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<T> {
    return (await (await this.send(method, path, body, headers)).json()) as T;
  }

  /** Sends a request, again where that may help: every one of ours is safe to repeat. */
  private async send(
    method: string,
    path: string,
    body?: string | Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const all: Record<string, string> = { ...headers };
    if (this.apiKey) all["Authorization"] = `Bearer ${this.apiKey}`;
    for (let attempt = 1; ; attempt++) {
      let pause = 0.2 * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
      try {
        const sent = { method, headers: all, body: body as BodyInit | undefined };
        const answer = await fetch(this.base + path, sent);
        if (answer.ok) return answer;
        const after = answer.headers.get("Retry-After");
        const later = LATER.includes(answer.status) || (answer.status === 409 && after !== null);
        if (!later || attempt >= ATTEMPTS || Number(after ?? 0) > LONGEST_WAIT_S) {
          throw new ServerProblem((await answer.json()) as Problem);
        }
        pause = Math.max(pause, Number(after ?? 0));
      } catch (error) {
        // fetch throws a TypeError where there was no answer at all.
        if (!(error instanceof TypeError) || attempt >= ATTEMPTS) throw error;
      }
      await new Promise((wake) => setTimeout(wake, pause * 1000));
    }
  }
}

/** The `data` of each event of a server-sent event stream. */
async function* serverSent(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      // Each event of this service has one line of data.
      for (const line of lines) if (line.startsWith("data: ")) yield line.slice(6);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/**
 * Verifies a webhook's delivery by the Standard Webhooks specification and gives its payload. `key`
 * is the endpoint's secret (`whsec_…`, signatures `v1`) or its public key (`whpk_…`, signatures
 * `v1a`, where the platform has Ed25519: Node 20, browsers since 2025). `body` is the request's raw
 * text, before any JSON parser. Throws when it does not hold. For `v1` the npm package
 * `standardwebhooks` does the same.
 */
export async function verifyWebhook(
  key: string,
  headers: Record<string, string>,
  body: string,
  toleranceS = 300,
): Promise<unknown> {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  const signatures = headers["webhook-signature"];
  if (!id || !timestamp || !signatures) throw new Error("the delivery is not signed");
  const age = Math.abs(Date.now() / 1000 - Number(timestamp));
  if (!(age <= toleranceS)) throw new Error("the delivery is too old, or from the future");
  const isPublic = key.startsWith("whpk_");
  const scheme = isPublic ? "v1a," : "v1,";
  const algorithm = isPublic ? { name: "Ed25519" } : { name: "HMAC", hash: "SHA-256" };
  const raw = bytesOf(key.replace(/^(whsec|whpk)_/, ""));
  const verifier = await crypto.subtle.importKey("raw", raw, algorithm, false, ["verify"]);
  const signed = new TextEncoder().encode(`${id}.${timestamp}.${body}`);
  for (const part of signatures.split(" ")) {
    if (!part.startsWith(scheme)) continue;
    let signature: Uint8Array<ArrayBuffer>;
    try {
      signature = bytesOf(part.slice(scheme.length));
    } catch {
      continue;
    }
    if (await crypto.subtle.verify(algorithm.name, verifier, signature, signed)) {
      return JSON.parse(body);
    }
  }
  throw new Error("the delivery has no valid signature");
}

/** The bytes of a base64 text. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
