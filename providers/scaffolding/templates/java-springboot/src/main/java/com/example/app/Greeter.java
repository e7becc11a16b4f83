package com.example.app;

import java.util.concurrent.atomic.AtomicLong;

/** Greets people and counts how often. Safe for use from several threads. */
public class Greeter {

    static final int LONGEST_NAME = 100;

    private final AtomicLong count = new AtomicLong();

    /**
     * Greets somebody.
     *
     * @throws IllegalArgumentException if the name is blank or longer than 100 characters
     */
    public Greeting greet(String name) {
        String who = name.strip();
        if (who.isEmpty() || who.length() > LONGEST_NAME) {
            throw new IllegalArgumentException("a name has 1 to " + LONGEST_NAME + " characters");
        }
        return new Greeting(count.incrementAndGet(), "Hello, " + who + "!");
    }
}
