// Greedy continuations by llama.cpp, through the node-llama-cpp package:
//   node llamacpp_greedy.mjs MODEL.gguf N < lines of JSON arrays of ids
// A JSON array of ids out for each. Called by check_llamacpp.py.
import readline from "node:readline";
import {pathToFileURL} from "node:url";
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(process.env.NODE_LLAMA_CPP).href);

const [file, n] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({contextSize: 512, sequences: 1, threads: 1});
const sequence = context.getSequence();
for await (const line of readline.createInterface({input: process.stdin})) {
  await sequence.clearHistory();
  const ids = [];
  for await (const token of sequence.evaluate(JSON.parse(line), {temperature: 0, yieldEogToken: true})) {
    ids.push(token);
    if (ids.length >= +n) break;
  }
  console.log(JSON.stringify(ids));
}
process.exit(0);
