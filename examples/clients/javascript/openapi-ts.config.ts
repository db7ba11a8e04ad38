export default {
  input: "http://127.0.0.1:8080/openapi.json",
  output: { path: "client", module: { extension: ".ts" } },
};
