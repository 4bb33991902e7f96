// Makes calls with OpenAI's client for Node: reads one call per line, writes one outcome per line.
import { createInterface } from "node:readline";
import OpenAI, { AzureOpenAI } from "openai";

const { CLIENT, URL: url, API_KEY: apiKey } = process.env;
const client =
  CLIENT === "AzureOpenAI"
    ? new AzureOpenAI({ endpoint: url, apiVersion: "2024-10-21", apiKey, maxRetries: 0 })
    : new OpenAI({ baseURL: url, apiKey, maxRetries: 0 });

const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

function settings({ timeout, max_retries, api_key, default_headers }) {
  return {
    ...(timeout === undefined ? {} : { timeout: timeout * 1000 }),
    ...(max_retries === undefined ? {} : { maxRetries: max_retries }),
    ...(api_key === undefined ? {} : { apiKey: api_key }),
    ...(default_headers === undefined ? {} : { defaultHeaders: default_headers }),
  };
}

function failure(error) {
  return {
    kind: error.constructor.name === "APIConnectionTimeoutError" ? "APITimeoutError" : error.constructor.name,
    message: error.message,
    status: error.status ?? null,
    code: error.code ?? null,
    param: error.param ?? null,
    type: error.type ?? null,
    request_id: error.requestID ?? null,
  };
}

async function perform({ method, path, body, options, take }, events) {
  const names = method.split(".").map(camel);
  const last = names.pop();
  const resource = names.reduce((parent, name) => parent[name], client.withOptions(settings(options)));
  const call = () => resource[last](...path, ...(body === null ? [] : [body]));
  if (take.helper) {
    const helper = call();
    helper.on(helper.finalChatCompletion ? "chunk" : "event", (event) => events.push(event));
    const final = await (helper.finalChatCompletion ?? helper.finalResponse).call(helper);
    return { value: final, request_id: null };
  }
  if (take.pages) {
    for await (const item of call()) events.push(item);
    return { value: null, request_id: null };
  }
  const { data, request_id } = await call().withResponse();
  if (!take.stream) return { value: data ?? null, request_id };
  for await (const event of data) {
    events.push(event);
    if (events.length === take.most) break;
  }
  return { value: null, request_id };
}

for await (const line of createInterface({ input: process.stdin })) {
  const events = [];
  let outcome;
  try {
    outcome = { ...(await perform(JSON.parse(line), events)), failure: null };
  } catch (error) {
    outcome = { value: null, request_id: null, failure: failure(error) };
  }
  console.log(JSON.stringify({ ...outcome, events }));
}
