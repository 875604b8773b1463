// What the page shows: the answer to the question in its fields, the progress of that answer, or what to do.
//
// An answer carries the number of its question and is shown while the fields hold that question. So no event has to
// remove an answer, an answer that comes late is not shown under another question, and nothing has to be cancelled.

const saltext = (() => {
    const asked = []; // the question of each number
    let current = null; // the question in the fields

    // The fields that count, as text: [image, [text, ...], [condition, ...]].
    const questionOf = ([image, text1, text2, text3, task1, task2, task3, third]) => {
        const count = third ? 3 : 2;
        const texts = [text1, text2, text3].slice(0, count).map((text) => text ?? "");
        return JSON.stringify([image?.path ?? null, texts, [task1, task2, task3].slice(0, count)]);
    };

    // A kind of answer. Gradio computes one at a time, and after it the one that was asked for last.
    class Asking {
        constructor(button, answer) {
            this.button = button;
            this.answer = answer;
            this.wanted = null; // the question whose answer was asked for last
            this.since = 0;
        }

        want(inputs) {
            this.wanted = questionOf(inputs);
            this.since = Date.now();
        }

        // The values to send: the last one is the number of the question.
        send(inputs) {
            this.sent = questionOf(inputs);
            return [...inputs.slice(0, -1), asked.push(this.sent) - 1];
        }

        // Gradio forgets what was asked for while a question failed.
        failed() {
            if (this.wanted === null || this.wanted === this.sent) this.wanted = null;
            else setTimeout(() => document.getElementById(this.button).click());
        }

        get state() {
            const number = document.querySelector(`#${this.answer} [data-question]`)?.dataset.question;
            if (number !== undefined && asked[number] === current) return "answered";
            if (this.wanted !== null && this.wanted === current) return "working";
            return number === undefined ? "none" : "outdated";
        }
    }

    const comparison = new Asking("ask", "said");
    const explanation = new Asking("explain", "words");

    const show = () => {
        for (const [name, asking] of Object.entries({ comparison, explanation })) {
            const state = asking.state;
            document.getElementById("answer").dataset[name] = state;
            const seconds = document.getElementById(`seconds-of-${name}`);
            const passed = `${Math.floor((Date.now() - asking.since) / 1000)} s`;
            if (state === "working" && seconds.textContent !== passed) seconds.textContent = passed; // it is observed
        }
        document.getElementById("explain").disabled = explanation.state === "working";
    };

    // Gradio numbers the examples from 0, and names the field of the image otherwise than it is labelled.
    const name = (fields) => {
        for (const [index, button] of [...fields.querySelectorAll("#examples button.gallery-item")].entries()) {
            button.setAttribute("aria-label", `Example ${index + 1}`);
        }
        fields.querySelector("#image button.upload-container")?.removeAttribute("aria-label");
    };

    const watch = (id, react) => {
        const element = document.getElementById(id);
        react(element);
        new MutationObserver(() => react(element)).observe(element, { childList: true, subtree: true });
    };

    return {
        ready() {
            document.documentElement.lang = "en";
            for (const name of ["status", "words"]) document.getElementById(name)?.setAttribute("role", "status");
            watch("question", name);
            watch("answer", show);
            setInterval(show, 500);
        },

        changed(...inputs) {
            current = questionOf(inputs);
            show();
        },

        wantComparison(...inputs) {
            comparison.want(inputs);
            saltext.changed(...inputs);
            if (window.innerWidth < 700) document.getElementById("answer").scrollIntoView();
        },
        sendComparison: (...inputs) => comparison.send(inputs),
        comparisonFailed() {
            comparison.failed();
            show();
        },

        wantExplanation(...inputs) {
            explanation.want(inputs);
            saltext.changed(...inputs);
            document.getElementById("explaining").scrollIntoView({ block: "nearest" });
        },
        sendExplanation: (...inputs) => explanation.send(inputs),
        explanationFailed() {
            explanation.failed();
            show();
        },
    };
})();
