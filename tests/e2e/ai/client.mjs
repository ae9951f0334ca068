// npm's `ai` with @ai-sdk/openai-compatible, as opencode and many apps use it, against the server at
// process.argv[2]: text, streams, tools in several steps, structured output, embeddings, errors.
// Called by tests/e2e/api_ai.py from the folder that `make clients` installed the packages in.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.cwd() + "/");
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { embedMany, generateText, jsonSchema, Output, stepCountIs, streamText, tool } = await load("ai");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");

const provider = createOpenAICompatible({
  name: "holdfast", baseURL: process.argv[2] + "/v1", apiKey: "none", includeUsage: true, supportsStructuredOutputs: true,
});
const model = provider.chatModel("m");
const ask = { model, prompt: "Hi", temperature: 0, seed: 1, maxOutputTokens: 16, maxRetries: 0 };
const thing = jsonSchema({
  type: "object", properties: { ok: { type: "boolean" }, size: { enum: [1, 2, 3] } }, required: ["ok", "size"], additionalProperties: false,
});

const checks = {
  async generate_and_stream() {
    const whole = await generateText(ask);
    assert.ok(whole.text.length > 0);
    assert.equal(whole.usage.totalTokens, whole.usage.inputTokens + whole.usage.outputTokens);
    assert.equal(whole.finishReason, whole.usage.outputTokens === 16 ? "length" : "stop");
    const stream = streamText(ask);
    let text = "";
    for await (const part of stream.textStream) text += part;
    assert.equal(text, whole.text);
    assert.deepEqual([(await stream.usage).inputTokens, await stream.finishReason], [whole.usage.inputTokens, whole.finishReason]);
    assert.ok((await stream.usage).inputTokenDetails.cacheReadTokens >= whole.usage.inputTokens - 1);
  },
  async tools_in_two_steps() {
    const asked = [];
    const read = tool({
      description: "Reads a file.",
      inputSchema: jsonSchema({ type: "object", properties: { path: { type: "string", maxLength: 8 } }, required: ["path"], additionalProperties: false }),
      execute: async ({ path }) => (asked.push(path), "the text of " + path),
    });
    for (const run of [generateText, streamText]) {
      asked.length = 0;
      const answer = run({
        ...ask, maxOutputTokens: 300, tools: { read }, stopWhen: stepCountIs(2),
        prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? { type: "tool", toolName: "read" } : "auto" }),
      });
      if (run === streamText) await (await answer).consumeStream();
      const steps = await (await answer).steps;
      assert.equal(steps.length, 2);
      assert.ok(asked.length >= 1 && asked.every((path) => typeof path === "string"), JSON.stringify(asked));
      assert.equal(steps[0].finishReason, "tool-calls");
      assert.equal(steps[0].toolResults[0].output, "the text of " + asked[0]);
      assert.ok(steps[1].usage.inputTokens > steps[0].usage.inputTokens);
    }
  },
  async structured_output() {
    for (let seed = 0; seed < 3; seed++) {
      const { output } = await generateText({ ...ask, seed, temperature: 1, maxOutputTokens: 200, output: Output.object({ schema: thing }) });
      assert.ok(typeof output.ok === "boolean" && [1, 2, 3].includes(output.size), JSON.stringify(output));
    }
    const stream = streamText({ ...ask, maxOutputTokens: 200, output: Output.object({ schema: thing }) });
    let last;
    for await (last of stream.partialOutputStream);
    assert.deepEqual(Object.keys(last).sort(), ["ok", "size"]);
  },
  async embeddings() {
    const { embeddings } = await embedMany({ model: provider.embeddingModel("m"), values: ["one", "two", "one"], maxRetries: 0 });
    assert.equal(embeddings.length, 3);
    assert.deepEqual(embeddings[0], embeddings[2]);
    assert.notDeepEqual(embeddings[0], embeddings[1]);
  },
  async errors_arrive() {
    const wrong = await generateText({ ...ask, prompt: "word and ".repeat(40000) }).catch((e) => e);
    assert.equal(wrong.statusCode, 400);
    assert.match(wrong.message, /maximum context length/);
    assert.equal(wrong.data.error.code, "context_length_exceeded");
  },
};
for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log("ok", name);
}
