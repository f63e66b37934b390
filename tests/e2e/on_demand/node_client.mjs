// Calls the API at the base URL of the arguments with OpenAI's package for Node; prints what it got, as JSON.
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const ask = { model: "gpt-4o-mini", messages: [{ role: "user", content: "Hello" }], max_tokens: 60 };
const got = {};

const answer = await client.chat.completions.create(ask);
got.answer = answer.choices;
got.usage = answer.usage;

const stream = await client.chat.completions.create({ ...ask, stream: true });
got.deltas = [];
for await (const chunk of stream) got.deltas.push(chunk.choices);

const counted = await client.chat.completions.create({
  ...ask, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of counted) if (chunk.usage) got.streamUsage = chunk.usage;

got.embedding = (await client.embeddings.create({ model: "text-embedding-3-small", input: "Hello" })).data.length;
got.models = (await client.models.list()).data.length > 0;
try {
  await client.chat.completions.create({ ...ask, messages: "nonsense" });
} catch (error) {
  got.error = [error.constructor.name, error.status];
}
console.log(JSON.stringify(got));
