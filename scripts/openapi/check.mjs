// Holds openapi.json to the schema of OpenAPI 3.1, each example to its schema, and each answer in a
// folder to its description.
import { readFileSync, readdirSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";
import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";

const [description, answers] = process.argv.slice(2);
const doc = JSON.parse(readFileSync(description, "utf8"));
const faults = [];

const whole = await new Validator().validate(structuredClone(doc));
if (!whole.valid) faults.push(`${description}: ${JSON.stringify(whole.errors, null, 1)}`);

const ajv = new Ajv({ strict: false, allErrors: true });
formats(ajv);
ajv.addSchema({ $id: "doc", ...doc });
const at = (pointer) => `doc#${pointer}`;
const escape = (s) => s.replaceAll("~", "~0").replaceAll("/", "~1");
const check = (what, pointer, value) => {
  const valid = ajv.compile({ $ref: at(encodeURI(pointer)) });
  if (!valid(value)) faults.push(`${what}: ${ajv.errorsText(valid.errors)}\n  ${JSON.stringify(value).slice(0, 300)}`);
};
const resolve = (pointer, node) => {
  if (!node?.$ref) return [pointer, node];
  const to = node.$ref.slice(1);
  return [to, to.split("/").slice(1).reduce((n, part) => n[part.replaceAll("~1", "/").replaceAll("~0", "~")], doc)];
};

let examples = 0;
for (const [path, methods] of Object.entries(doc.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    for (const status of Object.keys(operation.responses)) {
      const [pointer, response] = resolve(`/paths/${escape(path)}/${method}/responses/${status}`, operation.responses[status]);
      for (const [kind, media] of Object.entries(response.content ?? {})) {
        if (media.example === undefined) { if (kind !== "application/json" || path !== "/api/v1/openapi.json") faults.push(`${method} ${path} ${status} has no example`); continue; }
        check(`the example of ${method} ${path} ${status}`, `${pointer}/content/${escape(kind)}/schema`, media.example);
        examples++;
      }
    }
  }
}

let held = 0;
for (const file of readdirSync(answers)) {
  const answer = JSON.parse(readFileSync(`${answers}/${file}`, "utf8"));
  const what = `${answer.method} ${answer.path} ${answer.status}`;
  const responses = doc.paths[answer.path]?.[answer.method.toLowerCase()]?.responses ?? {};
  const status = responses[answer.status] ? String(answer.status) : "default";
  const [pointer, response] = resolve(`/paths/${escape(answer.path)}/${answer.method.toLowerCase()}/responses/${status}`, responses[status]);
  if (!response) { faults.push(`${what} is not described`); continue; }
  held++;
  const kind = answer.type.split(";")[0];
  if (!response.content) {
    if (answer.body !== "" && answer.status !== 302) faults.push(`${what} has a body`);
    if (answer.status === 302 && !URL.canParse(answer.location)) faults.push(`${what} leads to ${answer.location}`);
    continue;
  }
  const media = response.content[kind];
  if (!media) { faults.push(`${what} is of type ${kind}`); continue; }
  if (kind.endsWith("json")) check(what, `${pointer}/content/${escape(kind)}/schema`, JSON.parse(answer.body));
}
if (held < 30 || examples < 8) faults.push(`only ${held} answers and ${examples} examples were checked`);
for (const fault of faults) console.error(fault);
console.log(`${held} answers and ${examples} examples checked, ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
