/** Tasks in memory, numbered from 1. */
export class Tasks {
  #tasks = [];

  all() {
    return [...this.#tasks];
  }

  add(title) {
    const task = { id: this.#tasks.length + 1, title, done: false };
    this.#tasks.push(task);
    return task;
  }

  /** The task, done now; undefined if there is none of that number. */
  finish(id) {
    const task = this.#tasks.find((one) => one.id === id);
    if (task) {
      task.done = true;
    }
    return task;
  }
}
