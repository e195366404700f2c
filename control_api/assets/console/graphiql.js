"use strict";
// GraphiQL on this address, as whoever is signed in; what is in the address's query is what it begins with.
(() => {
  const given = new URLSearchParams(location.search);

  async function ask(address, options) {
    const answer = await fetch(address, options);
    const names = Object.keys(options.headers).map((name) => name.toLowerCase());
    if (answer.status === 401 && !names.includes("authorization")) {
      location.assign("/console/login?next=" + encodeURIComponent(location.pathname + location.search));
    }
    return answer;
  }

  const properties = {
    fetcher: GraphiQL.createFetcher({ url: location.pathname, fetch: ask }),
    defaultQuery: "{\n  configurations {\n    items {\n      name\n      users { username }\n    }\n  }\n}\n",
    shouldPersistHeaders: false, // they may hold a token
    storage: sessionStorage, // queries may hold secrets: they are gone with the tab
  };
  for (const name of ["query", "variables", "operationName"]) {
    if (given.has(name)) properties[name] = given.get(name);
  }
  const home = React.createElement("a", { href: "/console" }, "Notifier");
  const logo = React.createElement(GraphiQL.Logo, null, home);
  ReactDOM.createRoot(document.getElementById("graphiql")).render(React.createElement(GraphiQL, properties, logo));
})();
