// Stands in for Jenkins, which is in no package registry: reads a Jenkinsfile with the Groovy that Jenkins has (2.4), knows of the
// declarative language what the example uses and nothing else, and runs the steps of the stages that are for a branch.
import org.codehaus.groovy.control.CompilerConfiguration

class Level {
    static String branch, wanted
    static int ran = 0

    // What may stand inside of this block, and what it does.
    static final Map<String, Map<String, Closure>> KNOWN = [
        file: [pipeline: { within('pipeline', it) }],
        pipeline: [agent: { within('agent', it) }, options: { within('options', it) }, stages: { within('stages', it) }],
        agent: [label: { String name -> assert name }],
        options: [disableConcurrentBuilds: { }, timeout: { Map given -> assert given.time > 0 && given.unit == 'MINUTES' }],
        stages: [stage: { String name, Closure content -> wanted = branch; within('stage', content) }],
        stage: [when: { within('when', it) }, steps: { if (wanted == branch) within('steps', it) }],
        when: [branch: { String name -> wanted = name }],
        steps: [sh: { String script ->
            int code = new ProcessBuilder('sh', '-xe', '-c', script).inheritIO().start().waitFor()
            if (code) System.exit(code)
            ran++
        }],
    ]
    String name

    static void within(String name, Closure content) {
        content.delegate = new Level(name: name)
        content.resolveStrategy = Closure.DELEGATE_ONLY
        content()
    }

    def methodMissing(String word, arguments) {
        Closure does = KNOWN[name][word]
        if (!does) throw new MissingMethodException(word, Level, arguments as Object[])
        does(*arguments)
    }
}

abstract class Declarative extends Script {
    def methodMissing(String word, arguments) {
        new Level(name: 'file').methodMissing(word, arguments)
    }
}

assert GroovySystem.version.startsWith('2.4.')
Level.branch = args[1]
new GroovyShell(this.class.classLoader, new Binding(), new CompilerConfiguration(scriptBaseClass: 'Declarative'))
    .evaluate(new File(args[0]))
println "ran ${Level.ran} steps"
