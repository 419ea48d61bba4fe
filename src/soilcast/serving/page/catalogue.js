// What the server has, looked up by the state, and what a link leaves open.

export class Catalogue {
  constructor(content) {
    this.collections = content.collections;
    this.broken = content.broken ?? [];
  }

  collection(state) {
    return this.collections.find(({ id }) => id === state.collection) ?? null;
  }

  variable(state) {
    return this.collection(state)?.variables.find(({ name }) => name === state.variable) ?? null;
  }

  // A state in which everything is there: what is missing, or names what the server does not have, is the default.
  complete(given) {
    const collection = this.collection(given) ?? this.collections[0];
    if (!collection) return given;
    const among = (value, choices, otherwise) => (choices.includes(value) ? value : otherwise);
    const names = collection.variables.map(({ name }) => name);
    const first = among(collection.default?.variable, names, names[0]);
    const state = {
      ...given,
      collection: collection.id,
      issue: among(given.issue, collection.issues, collection.issues.at(-1)),
      lead: among(given.lead, collection.leads, collection.leads[0]),
      variable: among(given.variable, names, first),
    };
    const variable = this.variable(state);
    const [quantiles, classes] = [variable.quantiles.map(String), variable.drought_classes];
    return {
      ...state,
      quantile: among(given.quantile, quantiles, null),
      drought_class: among(given.drought_class, classes, among(collection.default?.drought_class, classes, classes[0] ?? null)),
      change: variable.can_change && given.change ? "7" : null,
    };
  }
}
