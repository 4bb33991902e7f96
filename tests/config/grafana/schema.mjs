// Prints the JSON schemas of the types of panels.ts, by name.
import {
  createFormatter,
  createParser,
  createProgram,
  DEFAULT_CONFIG,
  SchemaGenerator,
} from "ts-json-schema-generator";

const config = {
  ...DEFAULT_CONFIG,
  path: new URL("panels.ts", import.meta.url).pathname,
  tsconfig: new URL("tsconfig.json", import.meta.url).pathname,
  skipTypeCheck: true,
};
const names = ["Dashboard", "BarGauge", "Heatmap", "Stat", "StateTimeline", "Table", "TimeSeries"];

const program = createProgram(config);
const parser = createParser(program, config);
const formatter = createFormatter(config);
const generator = new SchemaGenerator(program, parser, formatter, config);
const schemas = names.map((name) => [name, generator.createSchema(name)]);
console.log(JSON.stringify(Object.fromEntries(schemas)));
