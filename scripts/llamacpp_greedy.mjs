// Greedy continuations by llama.cpp, through the node-llama-cpp package:
//   node llamacpp_greedy.mjs MODEL.gguf N < lines of JSON arrays of ids
// A line out for each: {"ids": [...], "gaps": [log p(best) - log p(second), ...]}. Called by check_llamacpp.py.
import readline from "node:readline";
import {pathToFileURL} from "node:url";
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(process.env.NODE_LLAMA_CPP).href);

const [file, n] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({contextSize: 512, sequences: 1, threads: 2});
const sequence = context.getSequence();
for await (const line of readline.createInterface({input: process.stdin})) {
  await sequence.clearHistory();
  const ids = [], gaps = [];
  for await (const t of sequence.evaluateWithMetadata(JSON.parse(line), {probabilities: true}, {temperature: 0})) {
    const p = [...t.probabilities.values()].sort((a, b) => b - a);
    ids.push(t.token);
    gaps.push(Math.log(p[0]) - Math.log(p[1]));
    if (ids.length >= +n) break;
  }
  console.log(JSON.stringify({ids, gaps}));
}
process.exit(0);
