import express from "express";

import { Tasks } from "./tasks.js";

/** The routes over a list of tasks. */
export function createApp(tasks = new Tasks()) {
  const app = express();
  app.disable("x-powered-by");
  app.use(express.json());

  app.get("/", (request, response) => response.send("Hello, World!"));
  app.get("/healthz", (request, response) => response.send("ok"));
  app.get("/tasks", (request, response) => response.json(tasks.all()));

  app.post("/tasks", (request, response) => {
    const title = request.body?.title;
    if (typeof title !== "string" || title.trim() === "") {
      return response.status(400).json({ error: "title is needed" });
    }
    return response.status(201).json(tasks.add(title.trim()));
  });

  app.post("/tasks/:id/done", (request, response) => {
    const task = tasks.finish(Number(request.params.id));
    return task ? response.json(task) : response.status(404).json({ error: "no such task" });
  });

  // Four parameters are how Express knows an error handler.
  app.use((error, request, response, next) => {
    const status = error.status ?? 500;
    response.status(status).json({ error: status < 500 ? error.message : "something went wrong" });
  });

  return app;
}
