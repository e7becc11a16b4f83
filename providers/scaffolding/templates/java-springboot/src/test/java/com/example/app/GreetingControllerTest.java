package com.example.app;

import static org.hamcrest.Matchers.containsString;
import static org.springframework.test.web.servlet.request.MockMvcRequestBuilders.get;
import static org.springframework.test.web.servlet.result.MockMvcResultMatchers.content;
import static org.springframework.test.web.servlet.result.MockMvcResultMatchers.jsonPath;
import static org.springframework.test.web.servlet.result.MockMvcResultMatchers.status;

import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.autoconfigure.web.servlet.AutoConfigureMockMvc;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.test.web.servlet.MockMvc;

@SpringBootTest
@AutoConfigureMockMvc
class GreetingControllerTest {

    @Autowired
    private MockMvc http;

    @Test
    void isUp() throws Exception {
        http.perform(get("/healthz")).andExpect(status().isOk()).andExpect(content().string("ok"));
    }

    @Test
    void greets() throws Exception {
        http.perform(get("/greeting")).andExpect(status().isOk()).andExpect(jsonPath("$.text").value("Hello, World!"));
        http.perform(get("/greeting").param("name", "Ann")).andExpect(jsonPath("$.text").value("Hello, Ann!"));
    }

    @Test
    void saysWhatIsWrong() throws Exception {
        http.perform(get("/greeting").param("name", " "))
                .andExpect(status().isBadRequest())
                .andExpect(content().string(containsString("1 to 100 characters")));
    }
}
