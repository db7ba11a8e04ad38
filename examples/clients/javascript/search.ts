// Search by a client that is generated from the server's OpenAPI (Node 22.18 or later):
//   npm install && npm run generate && npm run search http://127.0.0.1:8080 "a dog on the beach"
import { client } from "./client/client.gen.ts";
import { search } from "./client/sdk.gen.ts";

const [url, query] = process.argv.slice(2);
client.setConfig({ baseUrl: url });
const { data, error } = await search({ body: { query, limit: 3 } });
if (error) throw new Error(JSON.stringify(error));
for (const hit of data.hits) console.log(hit.name, hit.score.toFixed(2), hit.snippet ?? "");
