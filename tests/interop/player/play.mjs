// Plays asciicast files in the core of asciinema-player: what a browser does, without a screen.
//
//   node play.mjs MODULES FILE...
//
// MODULES is the node_modules folder. A file is a cast, or the index.json of a segmented recording. For each file one
// line of JSON: the output, input, sizes and markers that the player has played, in order, and how many files it fetched. Source: https://docs.asciinema.org/manual/player/
import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [modules, ...files] = process.argv.slice(2);
const dist = join(modules, "asciinema-player", "dist");
const named = (start) => {
  const found = readdirSync(dist).filter((name) => name.startsWith(start) && name.endsWith(".js"));
  if (found.length !== 1) throw new Error(`${found.length} files ${start}*.js in ${dist}`);
  return pathToFileURL(join(dist, found[0])).href;
};
// The core is what its own worker imports; it is exported under one letter.
const { C: Core } = await import(named("core-"));
const logger = { log() {}, debug() {}, info() {}, warn() {}, error() {} };

// A browser fetches from a server; here the files are the server.
let fetched = 0;
globalThis.fetch = async (url) => {
  fetched += 1;
  const text = readFileSync(fileURLToPath(url), "utf8");
  return { ok: true, url: String(url), json: async () => JSON.parse(text) };
};

async function play(file) {
  const played = { output: "", input: "", sizes: [], markers: [], fetched: 0 };
  const source =
    basename(file) === "index.json"
      ? { driver: "recording", format: "segmented", url: pathToFileURL(file).href }
      : { driver: "recording", parser: "asciicast", data: readFileSync(file, "utf8") };
  fetched = 0;
  const core = new Core(source, { logger, speed: 100000 });
  const ended = new Promise((resolve, reject) => {
    core.addEventListener("ended", resolve);
    core.addEventListener("error", (error) => reject(new Error(JSON.stringify(error))));
  });
  // Data that belongs to one frame comes together, in a list.
  const text = (event) => [event.data ?? event].flat().join("");
  core.addEventListener("output", (event) => (played.output += text(event)));
  core.addEventListener("input", (event) => (played.input += text(event)));
  core.addEventListener("resize", (event) => played.sizes.push(`${event.cols}x${event.rows}`));
  core.addEventListener("marker", (event) => played.markers.push(event.label));
  core.terminalReady();
  await core.init();
  await core.play();
  await ended;
  await core.stop();
  played.fetched = fetched;
  return played;
}

for (const file of files) console.log(JSON.stringify(await play(file)));
